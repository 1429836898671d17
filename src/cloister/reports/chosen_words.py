# SPDX-License-Identifier: Apache-2.0
"""Which round's weights a result is, in words; and what it means where that is none of the rounds."""

from __future__ import annotations

from typing import Any

_LOOK_AT = (
    "Look at the curves by round (result.html), at `learning_rate`, `steps` or `epochs` and `rounds` of the job, and "
    "at whether there are validation records enough to tell a difference"
)


def chosen_words(result: dict[str, Any]) -> str:
    """A line that says so of a job that trained something.

    Args:
        result: the content of `result.json`.
    """
    if said := unimproved(result):
        return f"chosen: the first weights. {said}"
    chosen = result["chosen"]
    return f"chosen: round {chosen['round']}, {chosen['metric']} {chosen['value']:.3f}"


def unimproved(result: dict[str, Any]) -> str:
    """What to say where no round measured better than the weights that the first one began with; else empty."""
    chosen = result["chosen"]
    if chosen["round"] != 0:
        return ""
    return (
        f"No round measured better than the weights that the first one began with ({chosen['metric']} "
        f"{chosen['value']:.3f}): training did not help, and the result is those weights.{_losses(result)} {_LOOK_AT}."
    )


def _losses(result: dict[str, Any]) -> str:
    """How the training loss went, which tells too large a step from what does not carry over."""
    losses = [entry["train_loss"] for entry in result["history"] if entry.get("train_loss") is not None]
    if len(losses) < 2:
        return ""
    went = f" The training loss went from {losses[0]:.3f} to {losses[-1]:.3f}"
    if losses[-1] < losses[0]:
        return f"{went}: what was learned did not carry over to validation records."
    return f"{went}: not even that fell."
