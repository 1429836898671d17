# SPDX-License-Identifier: Apache-2.0
"""`training`: the job trains no more rounds, steps or epochs, and no larger batches, than the policy says."""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.policies.check import Check, Outcomes, Rule


def judge(check: Check) -> Outcomes:
    """Allow where every number that the job gives has a limit and is within it."""
    limits, asked_for = check.policy.training, check.job.training
    if asked_for is None:
        return check.not_applicable("the job trains nothing")
    if limits is None:
        return check.silent("training", job=("training",))
    measures: tuple[tuple[KeyPath, int | None, str, int | None], ...] = (
        (("federation", "rounds"), check.job.federation.rounds, "maximum_rounds", limits.maximum_rounds),
        (("training", "steps"), asked_for.steps, "maximum_steps_per_round", limits.maximum_steps_per_round),
        (("training", "epochs"), asked_for.epochs, "maximum_epochs_per_round", limits.maximum_epochs_per_round),
        (("training", "batch_size"), asked_for.batch_size, "maximum_batch_size", limits.maximum_batch_size),
    )
    refusals: Outcomes = ()
    for asked_at, asked, key, limit in measures:
        if asked is None:
            continue
        if limit is None:
            message = f"`{asked_at[-1]}` is asked for, and the policy states no `{key}`"
            refusals += check.unstated(message, policy=("training",), job=asked_at)
        elif asked > limit:
            message = f"`{asked_at[-1]}` of {asked} is above the maximum of {limit}"
            refusals += check.deny(message, policy=("training", key), job=asked_at)
    return refusals or check.allow("the amount of training is within limits", policy=("training",), job=("training",))


RULE = Rule("training", judge, sections=("training",), waivable=True)
