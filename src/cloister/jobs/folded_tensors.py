# SPDX-License-Identifier: Apache-2.0
"""The factors of former rounds that a site folds into its base model, where a job says `aggregation.factors: flora`.

They come to the trainer with each request, beside what `cloister.jobs.kept_tensors` names, under `folded.` and the
names of the factors that are trained, with a rank that differs by layer and grows; they never go back. What they are is
in `cloister.aggregation.factors.flora`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from cloister.jobs.aggregation import Aggregation

FOLDED = "folded."
"""How their names begin where they lie in one file with other tensors."""

_Tensor = TypeVar("_Tensor")


def folds(aggregation: Aggregation) -> bool:
    """Whether the sites of a job fold factors into their base models."""
    return aggregation.factors == "flora"


def apart_from_folded(tensors: Mapping[str, _Tensor]) -> tuple[dict[str, _Tensor], dict[str, _Tensor]]:
    """``tensors`` without those to fold in, and those to fold in by the names of the factors that are trained."""
    others = {name: each for name, each in tensors.items() if not name.startswith(FOLDED)}
    folded = {name.removeprefix(FOLDED): each for name, each in tensors.items() if name.startswith(FOLDED)}
    return others, folded
