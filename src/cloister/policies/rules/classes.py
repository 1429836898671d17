# SPDX-License-Identifier: Apache-2.0
"""`classes`: no class of the view has so few records, to train on or at all, that they stand out.

A class that no record has says nothing about anybody, so none is enough; one to `minimum_per_class` - 1 are too few.
The job chooses how many are kept for validation; a small class that lies there as a whole would show in the metrics.

Where losses are calibrated, records of a rare class weigh more than others, by `shares` that the job states, until an
update is all but that of their class: such a job is denied where the policy states no minimum.
"""

from __future__ import annotations

from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import quoted


def judge(check: Check) -> Outcomes:
    """Allow where every class has `minimum_per_class` records to train on, or none; and so on both sides together.

    It is asked when the view is written, and before where the job calibrates its losses and nothing is stated.
    """
    view, grant, client = check.request.view, check.dataset, check.job.aggregation.client
    calibrated = client is not None and client.calibration is not None
    if calibrated and not check.of_baseline and grant is not None and grant.minimum_per_class is None:
        return check.unstated(
            "losses are calibrated by class, and the policy states no `minimum_per_class`",
            policy=("datasets", check.job.dataset.name),
            job=("aggregation", "client", "calibration"),
        )
    if view is None:
        return check.not_applicable("is checked when the view is written")
    if grant is None:
        return check.not_granted()
    least = grant.minimum_per_class
    if least is None:
        return check.not_applicable("the policy states no `minimum_per_class`")
    path = ("datasets", check.job.dataset.name, "minimum_per_class")
    refusals: Outcomes = ()
    for label in sorted(view.classes.keys() | view.validation_classes.keys()):
        training, validation = view.classes.get(label, 0), view.validation_classes.get(label, 0)
        few = f"class {quoted(label)} has fewer than {least} records"
        message = ""
        if training != 0 and not training >= least:
            message = f"{few} to train on in the view"
        elif training + validation != 0 and not training + validation >= least:
            message = f"{few} in the view, all of them kept for validation"
        if message:
            refusals += check.deny(message, policy=path, job=("dataset", "labels"))
    return refusals or check.allow(f"every class has {least} records to train on or more, or none", policy=path)


RULE = Rule("classes", judge, sections=("datasets",), waivable=True)
