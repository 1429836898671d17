# SPDX-License-Identifier: Apache-2.0
"""`records`: the view holds enough records to train on that no single one stands out.

Those kept for validation do not count: the job chooses their share, and could leave a single one to train on.
"""

from __future__ import annotations

from cloister.policies.check import Check, Outcomes, Rule


def judge(check: Check) -> Outcomes:
    """Allow `minimum_records` or more; before the view is written there is nothing to count."""
    view = check.request.view
    if view is None:
        return check.not_applicable("is checked when the view is written")
    grant = check.dataset
    if grant is None:
        return check.not_granted()
    path = ("datasets", check.job.dataset.name, "minimum_records")
    if view.records < grant.minimum_records:
        message = f"the view holds {view.records} records to train on and needs {grant.minimum_records}"
        return check.deny(message, policy=path, job=("dataset", "name"))
    return check.allow(f"the view holds {grant.minimum_records} records to train on or more", policy=path)


RULE = Rule("records", judge, sections=("datasets",), waivable=True)
