# SPDX-License-Identifier: Apache-2.0
"""`round-records`: a round trains on enough records that its update is not that of a few of them.

`records` counts the view; a job of one step with a batch of one would still send the update of a single record. What
the round used in the end is the trainer's word, and code that a job brings may lie.
"""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.policies.check import Check, Outcomes, Rule

_STATED: KeyPath = ("training", "minimum_records_per_round")


def judge(check: Check) -> Outcomes:
    """Allow where steps times batch size, the view, and in the end the round itself, hold `minimum_records_per_round`.

    View and round are counted once they are there.
    """
    limits, training, view = check.policy.training, check.job.training, check.request.view
    leaving = check.request.leaving
    if training is None:
        return check.not_applicable("the job trains nothing")
    if limits is None:
        return check.silent("training", job=("training",))
    least = limits.minimum_records_per_round
    if least is None:
        return check.not_applicable("the policy states no `minimum_records_per_round`")
    drawn = None if training.steps is None else training.steps * training.batch_size
    if drawn is None and view is None:
        return check.not_applicable("is checked when the view is written")
    told = None if leaving is None else leaving.records
    message = ""
    job: KeyPath = ("training",)
    if drawn is not None and drawn < least:
        message, job = f"a round trains on {drawn} records, and {least} are needed", ("training", "steps")
    elif view is not None and view.records < least:
        message = f"the view holds {view.records} records to train on, and a round needs {least}"
        job = ("dataset", "name")
    elif told is not None and told < least:
        message = f"the round trained on fewer than {least} records"  # how many is the trainer's to choose, and unsaid
    if message:
        return check.deny(message, policy=_STATED, job=job)
    return check.allow(f"a round trains on {least} records or more", policy=_STATED, job=("training",))


RULE = Rule("round-records", judge, sections=("training",), waivable=True)
