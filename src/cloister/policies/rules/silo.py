# SPDX-License-Identifier: Apache-2.0
"""`silo`: the records that are spoken of are this site's own."""

from __future__ import annotations

from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import quoted


def judge(check: Check) -> Outcomes:
    """Allow where the silo document is written for the site that was asked."""
    if check.of_baseline:
        return check.not_applicable("is checked with the site's own policy")
    if check.silo.site != check.request.site:
        message = (
            f"{check.silo_at('site')} is the silo of {quoted(check.silo.site)}, not of {quoted(check.request.site)}"
        )
        return check.deny(message)
    return check.allow(f"the silo is that of {quoted(check.request.site)}")


RULE = Rule("silo", judge)
