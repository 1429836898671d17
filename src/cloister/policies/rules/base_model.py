# SPDX-License-Identifier: Apache-2.0
"""`base-model`: name, sha256 and licence of the job's base model match one entry together, and the silo has it."""

from __future__ import annotations

from cloister.jobs import BaseModelRef
from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import quoted
from cloister.policies.sections import BaseModelGrant


def judge(check: Check) -> Outcomes:
    """Allow where one entry of `base_models` is the job's base model in all three respects."""
    granted, asked = check.policy.base_models, check.job.base_model
    if asked is None:
        return check.not_applicable("the job trains no base model")
    if granted is None:
        return check.silent("base_models", job=("base_model",))
    same_name = [entry for entry in granted if entry.name == asked.name]
    if not same_name:
        message = f"base model {quoted(asked.name)} is not granted"
        return check.deny(message, policy=("base_models",), job=("base_model", "name"))
    if not any((entry.sha256, entry.licence) == (asked.sha256, asked.licence) for entry in same_name):
        return _differs(check, asked, same_name)
    if not check.of_baseline and asked.name not in check.silo.base_models:
        message = f"base model {quoted(asked.name)} is granted, but {check.silo_at('base_models')} has no place for it"
        return check.deny(message, policy=("base_models",), job=("base_model", "name"))
    return check.allow(f"base model {quoted(asked.name)} is granted", policy=("base_models",), job=("base_model",))


def _differs(check: Check, asked: BaseModelRef, same_name: list[BaseModelGrant]) -> Outcomes:
    key = "licence" if any(entry.sha256 == asked.sha256 for entry in same_name) else "sha256"
    message = f"base model {quoted(asked.name)} is granted with another {key} than {quoted(getattr(asked, key))}"
    return check.deny(message, policy=("base_models",), job=("base_model", key))


RULE = Rule("base-model", judge, sections=("base_models",))
