# SPDX-License-Identifier: Apache-2.0
"""`sites`: the job names this site, if it names any, and averages its updates with those of enough others.

A rule that drops whole updates averages over those that it leaves.
"""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.policies.check import Check, Outcomes, Rule

_STATED: KeyPath = ("aggregation", "minimum_sites")
_ASKED: KeyPath = ("federation", "minimum_sites")
_NAMED: KeyPath = ("federation", "sites")


def judge(check: Check) -> Outcomes:
    """Allow a job that never averages over fewer than `aggregation.minimum_sites` sites."""
    named = check.job.federation.sites
    if named and check.request.site not in named:
        return check.deny(f"the job does not ask site `{check.request.site}`", policy=_STATED, job=_NAMED)
    if check.policy.aggregation is None:
        return check.silent("aggregation", job=_ASKED)
    least, asked = check.policy.aggregation.minimum_sites, check.job.federation.minimum_sites
    if asked < least:
        return check.deny(f"the job may average over {asked} sites, and {least} are needed", policy=_STATED, job=_ASKED)
    if few := too_few_left(check, least):
        return check.deny(few, policy=_STATED, job=chooses(check))
    left = check.job.aggregation.left(asked)
    return check.allow(f"the job averages over {left} sites or more", policy=_STATED, job=_ASKED)


def too_few_left(check: Check, least: int) -> str:
    """Why the job's rule leaves fewer updates than ``least``, where it is given as few as the job may have."""
    aggregation, asked = check.job.aggregation, check.job.federation.minimum_sites
    left = aggregation.left(asked)
    if left >= least:
        return ""
    what = f"rule `{aggregation.rule.name}`" if aggregation.mixing is None else "`mixing`"
    return f"the job's {what} may leave the updates of no more than {left} of {asked} sites, and {least} are needed"


def chooses(check: Check) -> KeyPath:
    """The key of the job by which some updates may have no part in the result."""
    aggregation = check.job.aggregation
    return ("aggregation", "mixing") if aggregation.mixing else ("aggregation", "rule", aggregation.rule.name)


RULE = Rule("sites", judge, sections=("aggregation",))
