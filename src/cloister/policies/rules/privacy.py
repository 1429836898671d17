# SPDX-License-Identifier: Apache-2.0
"""`privacy`: where the policy requires differential privacy, training keeps it."""

from __future__ import annotations

from cloister.policies.check import Check, Outcomes, Rule


def judge(check: Check) -> Outcomes:
    """Deny where it is required, because this version of Cloister cannot keep it."""
    privacy = check.policy.privacy
    if privacy is None:
        return check.not_applicable("the policy requires no differential privacy")
    message = (
        f"the policy requires differential privacy of each {privacy.unit} (epsilon {privacy.epsilon:g}, delta "
        f"{privacy.delta:g}), and this version of Cloister cannot keep it"
    )
    return check.deny(message, policy=("privacy",), job=("training",))


RULE = Rule("privacy", judge, sections=("privacy",))
