# SPDX-License-Identifier: Apache-2.0
"""What a site takes over of what the server sends, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloister.errors import EgressError, JobError
from cloister.flare.exchange import Sent
from cloister.flare.site_weights import SiteWeights
from cloister.jobs import AdapterLayout, TensorSpec
from cloister.jobs.live_tensors import live_layout
from cloister.vectors import BLOCK_VALUES
from tests.flare.wire_form import encoded

A, B = "x.lora_A.weight", "x.lora_B.weight"
LAYOUT = AdapterLayout(
    (TensorSpec("head.bias", (3,), "zeros"), TensorSpec(A, (2, 4), "uniform"), TensorSpec(B, (5, 2), "zeros")), ()
)
WHOLE = Sent(version=0, kind="whole", codec="float32")


def values(fill: float, layout: AdapterLayout = LAYOUT) -> bytes:
    return encoded({tensor.name: np.full(tensor.shape, fill, np.float32) for tensor in layout.tensors}, layout)


def sent(**changes: Any) -> Sent:
    step = Sent(version=1, kind="differences", base=0, codec="float32")
    return step.model_copy(update=changes)


@pytest.fixture
def weights(tmp_path: Path) -> SiteWeights:
    """A site that has version 0, all ones."""
    weights = SiteWeights(LAYOUT, tmp_path)
    weights.take(WHOLE, values(1.0))
    return weights


def test_what_is_sent_whole_replaces_everything(weights: SiteWeights) -> None:
    found = weights.take(sent(kind="whole", base=None), values(7.0)).arrays()
    assert {name: set(array.ravel()) for name, array in found.items()} == {name: {7.0} for name in ("head.bias", A, B)}


@pytest.mark.parametrize(("kind", "expected"), [("differences", 3.0), ("values", 2.0)])
@pytest.mark.parametrize("frozen", [None, "a", "b"])
def test_a_step_changes_what_it_holds_and_nothing_else(
    weights: SiteWeights, tmp_path: Path, kind: str, expected: float, frozen: Any
) -> None:
    part = live_layout(LAYOUT, frozen)
    path = tmp_path / "step"
    path.write_bytes(values(2.0, part))  # a file is read as bytes are
    found = weights.take(sent(kind=kind, without=frozen), path).arrays()
    still = {"a": A, "b": B}.get(frozen or "")
    for name, array in found.items():
        assert set(array.ravel()) == {1.0 if name == still else expected}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (None, "without weights"),
        (sent(base=1), "does not have"),
        (sent(base=None), "does not have"),
        (sent(kind="values", base=5), "does not have"),
        (sent(kind="whole"), "says that they are not whole"),
        (sent(kind="whole", base=None, without="a"), "says that they are not whole"),
    ],
)
def test_what_does_not_follow_is_refused_and_changes_nothing(weights: SiteWeights, said: Sent | None, why: str) -> None:
    with pytest.raises(JobError, match=why):
        weights.take(said, values(2.0))
    assert set(weights.take(sent(), values(2.0)).arrays()["head.bias"]) == {3.0}


def test_a_step_before_anything_came_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="does not have"):
        SiteWeights(LAYOUT, tmp_path).take(sent(), values(2.0))


@pytest.mark.parametrize(
    "payload", [b"", b"junk", values(2.0)[:-1], values(2.0) + b"x", values(2.0, live_layout(LAYOUT, "a"))]
)
def test_what_is_no_encoded_vector_of_the_job_is_refused_and_changes_nothing(
    weights: SiteWeights, payload: bytes
) -> None:
    with pytest.raises(EgressError):
        weights.take(sent(), payload)
    assert set(weights.take(sent(), values(2.0)).arrays()["head.bias"]) == {3.0}


def test_a_sum_that_is_not_finite_is_refused_and_changes_nothing(weights: SiteWeights) -> None:
    weights.take(sent(kind="whole", base=None, version=0), values(3e38))
    with pytest.raises(JobError, match="no longer finite"):
        weights.take(sent(), values(3e38))
    assert set(weights.take(sent(), values(-2e38)).arrays()["head.bias"]) == {np.float32(3e38) + np.float32(-2e38)}


def test_weights_of_several_blocks_are_taken_whole_and_step_by_step(tmp_path: Path) -> None:
    sizes = {"a": 3, A: BLOCK_VALUES, B: BLOCK_VALUES - 1}
    layout = AdapterLayout(tuple(TensorSpec(name, (size,), "zeros") for name, size in sizes.items()), ())
    many = SiteWeights(layout, tmp_path)
    drawn = {
        tensor.name: np.random.default_rng(number).normal(size=tensor.shape).astype(np.float32)
        for number, tensor in enumerate(layout.tensors)
    }
    many.take(WHOLE, encoded(drawn, layout))
    part = live_layout(layout, "a")
    step = {tensor.name: drawn[tensor.name] * 2 for tensor in part.tensors}
    found = many.take(sent(without="a"), encoded(step, part)).arrays()
    for name, array in found.items():
        np.testing.assert_array_equal(array, drawn[name] + step[name] if name in step else drawn[name])
