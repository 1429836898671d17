# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from cloister.adapter_file import maximum_blob_bytes
from cloister.errors import EgressError
from cloister.flare import trainer_blob
from cloister.flare.trainer_blob import Kept, blob_layout, join, split
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import Arrays, TensorSpec
from cloister.weights_file import WeightsFile
from cloister.wire import Schema, flatten

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


def weights(path: Path, layout: AdapterLayout, seed: int = 0) -> WeightsFile:
    return WeightsFile.write(path, layout, [flatten(arrays(layout, seed), Schema.of(layout))])


def kept_of(folder: Path, layout: AdapterLayout = KEPT) -> Kept:
    return Kept(layout, weights(folder / "kept", layout, 1))


def joined(folder: Path) -> Path:
    return join(folder / "request", weights(folder / "weights", EXCHANGED), kept_of(folder))


def written(path: Path, blob: bytes) -> Path:
    path.write_bytes(blob)
    return path


def test_what_is_joined_is_told_apart(tmp_path: Path) -> None:
    found = split(joined(tmp_path), EXCHANGED, KEPT)
    for layout, mark, seed in ((EXCHANGED, "", 0), (KEPT, "kept.", 1)):
        expected = flatten(arrays(layout, seed), Schema.of(layout))
        assert np.array_equal(found.part(layout, mark).block(0), expected)
    kept = Kept(KEPT, found.part(KEPT, "kept.")).arrays()
    assert all(np.array_equal(kept[name], each) for name, each in arrays(KEPT, 1).items())


def test_what_is_joined_is_what_safetensors_reads(tmp_path: Path) -> None:
    folded = {"c": np.ones((2, 2), np.float32)}
    path = join(tmp_path / "request", weights(tmp_path / "weights", EXCHANGED), kept_of(tmp_path), folded)
    read = safetensors.numpy.load(path.read_bytes())
    expected = plain() | {"folded.c": folded["c"]}
    assert read.keys() == expected.keys()
    assert all(np.array_equal(read[name], each) for name, each in expected.items())


def test_without_kept_tensors_it_is_the_weights_themselves(tmp_path: Path) -> None:
    assert blob_layout(EXCHANGED, NOTHING) == EXCHANGED
    own = weights(tmp_path / "weights", EXCHANGED)
    assert join(tmp_path / "request", own, kept_of(tmp_path, NOTHING)) == own.path
    found = split(own.path, EXCHANGED, NOTHING)
    assert np.array_equal(found.part(EXCHANGED).block(0), own.block(0))


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
def test_refused(tmp_path: Path, tensors: dict[str, Any]) -> None:
    with pytest.raises(EgressError) as caught:
        split(written(tmp_path / "answer", safetensors.numpy.save(tensors)), EXCHANGED, KEPT)
    assert "patients" not in str(caught.value)


def test_kept_tensors_where_the_job_keeps_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EgressError, match="not part of this job"):
        split(joined(tmp_path), EXCHANGED, NOTHING)


def test_a_blob_longer_than_its_tensors_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloister.adapter_file._places", lambda *_: pytest.fail("was read"))
    most = maximum_blob_bytes(blob_layout(EXCHANGED, KEPT))
    with pytest.raises(EgressError, match="more bytes"):
        split(written(tmp_path / "answer", bytes(most + 1)), EXCHANGED, KEPT)


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(blob: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.raises(EgressError):
        split(written(Path(folder) / "answer", blob), EXCHANGED, KEPT)


@pytest.mark.parametrize("error", [RuntimeError("a patient"), MemoryError(), KeyError("a")])
def test_where_its_own_code_fails_nothing_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(trainer_blob.AdapterFile, "open", fail)
    with pytest.raises(EgressError, match="could not be told apart") as caught:
        split(joined(tmp_path), EXCHANGED, KEPT)
    assert "patient" not in str(caught.value)
