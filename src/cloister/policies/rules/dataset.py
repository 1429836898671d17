# SPDX-License-Identifier: Apache-2.0
"""`dataset`: the job's dataset is granted, for the job's purpose, and the silo has it."""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import listed, quoted

_ASKED: KeyPath = ("dataset", "name")


def judge(check: Check) -> Outcomes:
    """Allow a dataset under `datasets` whose own `purposes`, where given, hold the job's purpose."""
    granted, name = check.policy.datasets, check.job.dataset.name
    if granted is None:
        return check.silent("datasets", job=_ASKED)
    if name not in granted:
        return check.deny(f"dataset {quoted(name)} is not granted", policy=("datasets",), job=_ASKED)
    here: KeyPath = ("datasets", name)
    purposes, purpose = granted[name].purposes, check.job.purpose
    if purposes is not None and purpose not in purposes:
        message = f"dataset {quoted(name)} is granted for {listed(purposes) or 'no purpose'}, not for {quoted(purpose)}"
        return check.deny(message, policy=(*here, "purposes"), job=("purpose",))
    if not check.of_baseline and name not in check.silo.datasets:
        message = f"dataset {quoted(name)} is granted, but {check.silo_at('datasets')} has none of that name"
        return check.deny(message, policy=here, job=_ASKED)
    return check.allow(f"dataset {quoted(name)} is granted", policy=here, job=_ASKED)


RULE = Rule("dataset", judge, sections=("datasets",))
