# SPDX-License-Identifier: Apache-2.0
"""`purpose`: the job's purpose of use is one that the policy grants."""

from __future__ import annotations

from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import listed, quoted


def judge(check: Check) -> Outcomes:
    """Allow a purpose that stands under `purposes`, word for word."""
    granted, purpose = check.policy.purposes, check.job.purpose
    if granted is None:
        return check.silent("purposes", job=("purpose",))
    if purpose not in granted:
        message = f"purpose {quoted(purpose)} is not among the granted purposes: {listed(granted) or 'none'}"
        return check.deny(message, policy=("purposes",), job=("purpose",))
    return check.allow(f"purpose {quoted(purpose)} is granted", policy=("purposes",), job=("purpose",))


RULE = Rule("purpose", judge, sections=("purposes",))
