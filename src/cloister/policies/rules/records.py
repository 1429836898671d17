# SPDX-License-Identifier: Apache-2.0
"""`records`: the view holds enough records to train on that no single one stands out.

Those kept for validation do not count: the job chooses their share, and could leave a single one to train on.
"""

from __future__ import annotations

from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import quoted


def judge(check: Check) -> Outcomes:
    """Allow `minimum_records` or more; before the view is written there is nothing to count."""
    granted, records, name = check.policy.datasets, check.request.records, check.job.dataset.name
    if records is None:
        return check.not_applicable("is checked when the view is written")
    if granted is None:
        return check.silent("datasets", job=("dataset", "name"))
    grant = granted.get(name)
    if grant is None:
        message = f"dataset {quoted(name)} is not granted, so no number of its records is enough"
        return check.deny(message, policy=("datasets",), job=("dataset", "name"))
    path = ("datasets", name, "minimum_records")
    if records < grant.minimum_records:
        message = f"the view holds {records} records to train on and needs {grant.minimum_records}"
        return check.deny(message, policy=path, job=("dataset", "name"))
    return check.allow(f"the view holds {grant.minimum_records} records to train on or more", policy=path)


RULE = Rule("records", judge)
