# SPDX-License-Identifier: Apache-2.0
"""`release`: the job's result will rest on enough sites, and nobody has to approve it first.

How many records are behind a result is known once every site's view is counted: each site tells the server what its
policy demands, and the server ends the job where the sites that are ready do not reach it.
"""

from __future__ import annotations

from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import listed
from cloister.policies.rules.sites import chooses, too_few_left


def judge(check: Check) -> Outcomes:
    """Allow where the job's `minimum_sites` reaches that of `release`; deny where people must approve the result."""
    terms, asked = check.policy.release, check.job.federation.minimum_sites
    if terms is None:
        return check.not_applicable("the policy demands nothing of a job's result")
    refusals: Outcomes = ()
    if terms.minimum_sites is not None and asked < terms.minimum_sites:
        message = f"the job's result may rest on {asked} sites, and {terms.minimum_sites} are needed"
        path = ("release", "minimum_sites")
        refusals += check.deny(message, policy=path, job=("federation", "minimum_sites"))
    elif terms.minimum_sites is not None and (few := too_few_left(check, terms.minimum_sites)):
        refusals += check.deny(few, policy=("release", "minimum_sites"), job=chooses(check))
    if terms.approved_by is not None:
        message = (
            f"the result must be approved by {listed(terms.approved_by) or 'nobody'}, and this version of Cloister "
            "cannot hold a result back"
        )
        refusals += check.deny(message, policy=("release", "approved_by"))
    return refusals or check.allow("the job's result may be given out", policy=("release",))


RULE = Rule("release", judge, sections=("release",))
