# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from cloister.egress import maximum_blob_bytes
from cloister.errors import EgressError
from cloister.flare import trainer_blob
from cloister.flare.trainer_blob import blob_layout, join, split
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import Arrays, TensorSpec

EXCHANGED = AdapterLayout((TensorSpec("a", (2, 3), "uniform"), TensorSpec("control.a", (2, 3), "zeros")), ())
KEPT = AdapterLayout((TensorSpec("b", (4,), "zeros"), TensorSpec("control_own.a", (2, 3), "zeros")), ())
NOTHING = AdapterLayout((), ())


def arrays(layout: AdapterLayout, seed: int = 0) -> Arrays:
    random = np.random.Generator(np.random.PCG64(seed))
    return {tensor.name: random.normal(size=tensor.shape).astype(np.float32) for tensor in layout.tensors}


def plain(**changes: Any) -> dict[str, Any]:
    """All tensors of a good blob, with changes; None takes one out."""
    good = {**arrays(EXCHANGED), **{f"kept.{name}": each for name, each in arrays(KEPT, 1).items()}}
    return {name: each for name, each in (good | changes).items() if each is not None}


def test_what_is_joined_is_told_apart() -> None:
    apart = split(join(arrays(EXCHANGED), arrays(KEPT, 1)), EXCHANGED, KEPT)
    assert apart.exchanged.keys() == arrays(EXCHANGED).keys()
    assert apart.kept.keys() == arrays(KEPT).keys()
    assert all(np.array_equal(apart.exchanged[name], each) for name, each in arrays(EXCHANGED).items())
    assert all(np.array_equal(apart.kept[name], each) for name, each in arrays(KEPT, 1).items())


def test_without_kept_tensors_it_is_the_adapter_alone() -> None:
    assert blob_layout(EXCHANGED, NOTHING) == EXCHANGED
    apart = split(join(arrays(EXCHANGED), {}), EXCHANGED, NOTHING)
    assert apart.kept == {}
    assert apart.exchanged.keys() == arrays(EXCHANGED).keys()


BAD = {
    "an exchanged one less": plain(a=None),
    "a kept one less": plain(**{"kept.b": None}),
    "an extra one": plain(patients=np.ones(3, np.float32)),
    "an extra kept one": plain(**{"kept.patients": np.ones(3, np.float32)}),
    "a kept one without its mark": plain(**{"kept.b": None, "b": np.ones(4, np.float32)}),
    "an exchanged one with the mark": plain(a=None, **{"kept.a": np.ones((2, 3), np.float32)}),
    "another shape": plain(a=np.ones((3, 2), np.float32)),
    "another shape of a kept one": plain(**{"kept.b": np.ones((2, 2), np.float32)}),
    "another type": plain(a=np.ones((2, 3), np.float64)),
    "another type of a kept one": plain(**{"kept.b": np.ones(4, np.int32)}),
    "no number": plain(a=np.full((2, 3), np.nan, np.float32)),
    "an infinite kept one": plain(**{"kept.b": np.full(4, np.inf, np.float32)}),
}


@pytest.mark.parametrize("tensors", BAD.values(), ids=BAD)
def test_refused(tensors: dict[str, Any]) -> None:
    with pytest.raises(EgressError) as caught:
        split(safetensors.numpy.save(tensors), EXCHANGED, KEPT)
    assert "patients" not in str(caught.value)


def test_kept_tensors_where_the_job_keeps_none_are_refused() -> None:
    with pytest.raises(EgressError, match="not part of this job"):
        split(join(arrays(EXCHANGED), arrays(KEPT)), EXCHANGED, NOTHING)


def test_a_blob_longer_than_its_tensors_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloister.egress.load", lambda _: pytest.fail("was read"))
    most = maximum_blob_bytes(blob_layout(EXCHANGED, KEPT))
    with pytest.raises(EgressError, match="more bytes"):
        split(bytes(most + 1), EXCHANGED, KEPT)


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(blob: bytes) -> None:
    with pytest.raises(EgressError):
        split(blob, EXCHANGED, KEPT)


@pytest.mark.parametrize("error", [RuntimeError("a patient"), MemoryError(), KeyError("a")])
def test_where_its_own_code_fails_nothing_leaves(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(trainer_blob, "read_adapter", fail)
    with pytest.raises(EgressError, match="could not be told apart") as caught:
        split(join(arrays(EXCHANGED), arrays(KEPT)), EXCHANGED, KEPT)
    assert "patient" not in str(caught.value)
