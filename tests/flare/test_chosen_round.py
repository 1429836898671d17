# SPDX-License-Identifier: Apache-2.0
"""Which round is the result."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from cloister.errors import JobError
from cloister.flare.chosen_round import ChosenRound
from cloister.jobs import Selection


def chosen(metric: Literal["accuracy", "loss"], *values: float | None) -> tuple[ChosenRound, list[int]]:
    """What is chosen of versions that measured ``values``, and which of them were written down."""
    found, written = ChosenRound(Selection(metric=metric)), []
    for version, value in enumerate(values):

        def keep(version: int = version) -> dict[str, Any]:
            written.append(version)
            return {"version": version}

        found.measured(version, {} if value is None else {metric: value}, keep)
    return found, written


def test_the_best_is_chosen_and_of_equals_the_first() -> None:
    found, written = chosen("accuracy", 0.2, 0.5, 0.4, 0.5)
    assert (found.version, found.value, found.config, written) == (1, 0.5, {"version": 1}, [0, 1])
    found, written = chosen("loss", 2.0, 1.0, 1.5, 0.5)
    assert (found.version, written) == (3, [0, 1, 3])
    assert found.to_json() == {"round": 3, "metric": "loss", "value": 0.5}


def test_a_round_that_nobody_measured_is_not_chosen() -> None:
    found, written = chosen("loss", None, 3.0, None)
    assert (found.version, written) == (1, [1])


def test_where_nothing_was_measured_nothing_is_chosen() -> None:
    with pytest.raises(JobError, match="no site may tell `accuracy`"):
        chosen("accuracy", None, None)[0].to_json()


def test_weights_that_cannot_be_written_down_are_not_chosen() -> None:
    found = ChosenRound(Selection(metric="accuracy"))

    def fail() -> dict[str, Any]:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        found.measured(0, {"accuracy": 1.0}, fail)
    assert found.version is None


def test_a_job_that_trains_nothing_chooses_nothing() -> None:
    with pytest.raises(JobError, match="trains nothing"):
        ChosenRound(None).measured(0, {}, dict)
