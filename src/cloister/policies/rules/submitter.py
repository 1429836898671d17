# SPDX-License-Identifier: Apache-2.0
"""`submitter`: whoever asks is in every list of `submitters` that the policy gives."""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import quoted


def judge(check: Check) -> Outcomes:
    """Allow where each given list holds the submitter; with no list, nobody is granted anything."""
    submitters, who = check.policy.submitters, check.request.submitter
    if submitters is None:
        return check.silent("submitters")
    lists: tuple[tuple[str, str, str, tuple[str, ...] | None], ...] = (
        ("people", "", who.name, submitters.people),
        ("roles", "role ", who.role, submitters.roles),
        ("organisations", "organisation ", who.organisation, submitters.organisations),
    )
    given = [entry for entry in lists if entry[3] is not None]
    if not given:
        return check.deny("`submitters` gives no list, so nobody may ask", policy=("submitters",))
    refusals: Outcomes = ()
    for key, kind, value, names in given:
        if value not in (names or ()):
            path: KeyPath = ("submitters", key)
            refusals += check.deny(f"{kind}{quoted(value)} is not among the granted {key}", policy=path)
    return refusals or check.allow(f"{quoted(who.name)} may ask", policy=("submitters",))


RULE = Rule("submitter", judge, sections=("submitters",))
