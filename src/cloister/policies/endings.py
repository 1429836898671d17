# SPDX-License-Identifier: Apache-2.0
"""What in a policy ends on a day, so that somebody can renew it before."""

from __future__ import annotations

from datetime import date

from cloister.documents import KeyPath
from cloister.policies.model import Policy
from cloister.policies.terms import CodeGrant


def ends_on(policy: Policy) -> tuple[tuple[str, KeyPath, date], ...]:
    """Everything in ``policy`` that ends on a day: what, its key path, its last day."""
    found: list[tuple[str, KeyPath, date]] = [("the policy", ("valid_until",), policy.valid_until)]
    for name, grant in (policy.datasets or {}).items():
        if grant.approval is not None:
            path: KeyPath = ("datasets", name, "approval", "until")
            found.append((f"the approval of dataset `{name}`", path, grant.approval.until))
    if isinstance(policy.code, CodeGrant):
        for index, entry in enumerate(policy.code.approved):
            what = f"the approval of code `{entry.sha256[:12]}…`"
            found.append((what, ("code", "approved", index, "until"), entry.until))
    for index, waiver in enumerate(policy.waivers or ()):
        found.append((f"the waiver of `{waiver.rule}`", ("waivers", index, "until"), waiver.until))
    return tuple(found)
