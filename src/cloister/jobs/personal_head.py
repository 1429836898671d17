# SPDX-License-Identifier: Apache-2.0
"""Whether a base model's head stays at the sites with a job's personal layers."""

from __future__ import annotations

from collections.abc import Sequence

from cloister.jobs.tasks import Task
from cloister.jobs.transformer_kinds import KINDS


def head_may_stay(task: Task, personal: Sequence[str]) -> bool:
    """Whether there is a kind of base model all of whose head for ``task`` lies in ``personal`` layers.

    Of which kind a job's base model is shows in its files, and in the tensors that are about to leave.
    """
    heads = (kind.heads.get(task, ()) for kind in KINDS.values())
    return any(head and all(_lies_in(name, personal) for name, _ in head) for head in heads)


def _lies_in(name: str, personal: Sequence[str]) -> bool:
    return any(f".{layer}." in f".{name}." for layer in personal)
