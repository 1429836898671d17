# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cloister.adapter_file import maximum_blob_bytes
from cloister.egress import Release, permitted_metrics, release_metrics, write_adapter
from cloister.egress import release as release_vector
from cloister.errors import EgressError
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import Arrays, TensorSpec
from cloister.jobs.compression import CodecName
from cloister.vectors import BLOCK_VALUES, ArraySource, Difference
from cloister.wire import CODECS, Encoded, EncodedVector, Encoder, Schema
from tests.blobs import read_adapter
from tests.flare.wire_form import decoded, encoded

ATTACKS = Path(__file__).parents[2] / "shared" / "data" / "bad_inputs" / "safetensors_attacks"
LAYOUT = AdapterLayout(
    (TensorSpec("a.weight", (2, 3), "uniform"), TensorSpec("b.bias", (4,), "zeros")), ("classifier",)
)
ALL = frozenset({"accuracy", "macro_f1", "loss", "train_loss"})


def adapter(fill: float = 0.5) -> Arrays:
    return {"a.weight": np.full((2, 3), fill, np.float32), "b.bias": np.arange(4, dtype=np.float32)}


def release(
    layout: AdapterLayout, allowed: frozenset[str], metrics: Any, update: Arrays, encoder: Encoder, seed: int
) -> Release:
    """Of an update whose tensors are at hand; none of these is so large that it would need the file."""
    values = np.concatenate([np.empty(0, np.float32), *(update[name].reshape(-1) for name in sorted(update))])
    source = ArraySource(values)
    return release_vector(layout, allowed, metrics, source, encoder, seed=seed, path=Path("/nowhere/update"))


def encoder(codec: CodecName = "float32") -> Encoder:
    return Encoder(CODECS[codec], error_feedback=False)


def test_metadata_may_come_in_and_never_goes_out() -> None:
    blob = bytes(safetensors.numpy.save(adapter(), metadata={"patient": "Ada Lovelace"}))
    assert b"Lovelace" in blob
    released = release(LAYOUT, ALL, {}, read_adapter(blob, LAYOUT), encoder(), 0)
    assert b"Lovelace" not in released.tensors
    assert b"__metadata__" not in released.tensors


_FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    weight=arrays(np.float32, (2, 3), elements=_FINITE),
    bias=arrays(np.float32, (4,), elements=_FINITE),
    turned=st.booleans(),
)
def test_what_leaves_depends_on_the_values_alone(weight: Any, bias: Any, turned: bool) -> None:
    plain = {"a.weight": weight, "b.bias": bias}
    other = {"b.bias": bias.copy(), "a.weight": np.asfortranarray(weight)} if turned else dict(plain)
    first, second = release(LAYOUT, ALL, {}, plain, encoder(), 0), release(LAYOUT, ALL, {}, other, encoder(), 0)
    assert first.tensors == second.tensors
    read = decoded(first.tensors, LAYOUT)
    assert all(np.array_equal(read[name], plain[name]) for name in plain)


def test_a_trainers_own_way_to_write_the_file_does_not_get_through() -> None:
    plain = write_adapter(adapter())
    (length,) = struct.unpack("<Q", plain[:8])
    text = json.dumps(json.loads(plain[8 : 8 + length]), indent=3).encode() + b" " * 64
    sloppy = struct.pack("<Q", len(text)) + text + plain[8 + length :]
    assert release(LAYOUT, ALL, {}, read_adapter(sloppy, LAYOUT), encoder(), 0).tensors == encoded(adapter(), LAYOUT)


def test_an_update_that_overflows_is_refused_and_its_tensor_named() -> None:
    after, before = (ArraySource(np.array([0, 0, 0, 0, 0, 0, 1, 1, by, 1], np.float32)) for by in (3e38, -3e38))
    with pytest.raises(EgressError, match=r"tensor `b\.bias` holds a value that is not finite"):
        release_vector(LAYOUT, ALL, {}, Difference(after, before), encoder(), seed=0, path=Path("/nowhere/update"))


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"a.weight": np.zeros((2, 3), np.float32)},
        {**adapter(), "c": np.zeros(1, np.float32)},
        {**adapter(), "b.bias": np.zeros(5, np.float32)},
        {**adapter(), "b.bias": np.full(4, np.nan, np.float32)},
    ],
)
def test_an_update_that_is_not_the_jobs_is_refused(update: Arrays) -> None:
    with pytest.raises(EgressError):
        release(LAYOUT, ALL, {}, update, encoder(), 0)


LARGE = AdapterLayout((TensorSpec("a", (BLOCK_VALUES,), "zeros"), TensorSpec("b", (7,), "zeros")), ())


@pytest.mark.parametrize("codec", CODECS)
def test_a_large_update_leaves_as_a_file_with_the_bytes_that_it_would_have_in_memory(
    tmp_path: Path, codec: CodecName
) -> None:
    values = np.random.default_rng(3).normal(size=LARGE.size).astype(np.float32)
    path = tmp_path / "update"
    path.write_bytes(b"the one of the round before")
    released = release_vector(LARGE, ALL, {}, ArraySource(values), encoder(codec), seed=5, path=path)
    content = encoder(codec).encode(values, Schema.of(LARGE), 5).content
    assert released.tensors == path
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert released.bytes == len(content) + 2
    vector = EncodedVector.open(content, CODECS[codec], Schema.of(LARGE))
    read = np.concatenate([vector.block(0), vector.block(1)]).astype(np.float64)
    assert released.norm == pytest.approx(math.sqrt(float(np.square(read).sum())))


@pytest.mark.parametrize("place", [0, BLOCK_VALUES - 1, BLOCK_VALUES + 6])
def test_of_a_large_update_that_is_refused_nothing_is_left(tmp_path: Path, place: int) -> None:
    values = np.zeros(LARGE.size, np.float32)
    values[place] = np.nan
    name = "a" if place < BLOCK_VALUES else "b"
    with pytest.raises(EgressError, match=f"tensor `{name}` holds a value that is not finite"):
        release_vector(LARGE, ALL, {}, ArraySource(values), encoder(), seed=0, path=tmp_path / "update")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["cloister.egress.np.square", "cloister.egress.EncodedVector.open"])
def test_a_large_update_whose_measuring_fails_is_not_left_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def fail(*_: object, **_more: object) -> float:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(what, fail)
    values = np.zeros(LARGE.size, np.float32)
    with pytest.raises(RuntimeError):
        release_vector(LARGE, ALL, {}, ArraySource(values), encoder(), seed=0, path=tmp_path / "update")
    assert list(tmp_path.iterdir()) == []


def test_without_an_update_only_metrics_leave() -> None:
    released = release_metrics(ALL, {"accuracy": 0.5, "names": 1.0})
    assert (released.tensors, dict(released.metrics)) == (b"", {"accuracy": 0.5})


def test_metrics_that_are_not_listed_are_dropped_whatever_they_hold() -> None:
    metrics: dict[str, Any] = {"accuracy": 0.5, "loss": 1, "Ada Lovelace": float("nan"), "train_loss": float("inf")}
    kept = permitted_metrics(metrics, {"accuracy", "loss"})
    assert kept == {"accuracy": 0.5, "loss": 1.0}
    assert type(kept["loss"]) is float
    assert permitted_metrics(metrics, ()) == {}


@pytest.mark.parametrize(
    "value",
    [True, False, float("nan"), float("inf"), -float("inf"), 10**400, "0.5", None, [0.5], np.float32(0.5), 0.5j],
)
def test_a_listed_metric_that_is_no_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(EgressError, match="metric `loss` is not a finite number"):
        permitted_metrics({"loss": value}, ALL)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accuracy", 1.01),
        ("accuracy", -0.01),
        ("macro_f1", 1e300),
        ("loss", -0.1),
        ("loss", 1e300),
        ("train_loss", 2e6),
    ],
)
def test_a_metric_that_cannot_be_is_refused(name: str, value: float) -> None:
    with pytest.raises(EgressError, match=f"metric `{name}` is not between 0 and"):
        permitted_metrics({name: value}, ALL)


@pytest.mark.parametrize(("name", "value"), [("accuracy", 0), ("accuracy", 1), ("macro_f1", 1.0), ("loss", 0.0)])
def test_the_ends_of_a_metrics_range_pass(name: str, value: float) -> None:
    assert permitted_metrics({name: value}, ALL) == {name: float(value)}


def test_tensors_and_metrics_together_make_the_size() -> None:
    metrics = {"accuracy": 0.5}
    released = release(LAYOUT, ALL, metrics | {"names": 7.0}, adapter(), encoder(), 0)
    assert released.bytes == len(encoded(adapter(), LAYOUT)) + len(json.dumps(metrics))
    assert release_metrics(ALL, {}).bytes == 2


def test_an_update_is_measured_over_all_its_tensors() -> None:
    released = release(LAYOUT, ALL, {}, adapter(0.5), encoder(), 0)
    assert released.norm == pytest.approx(math.sqrt(6 * 0.25 + 0 + 1 + 4 + 9))
    assert release_metrics(ALL, {}).norm is None


@pytest.mark.parametrize("codec", CODECS)
def test_what_leaves_is_measured_as_it_will_be_read(codec: CodecName) -> None:
    values = np.random.default_rng(5).normal(size=6).astype(np.float32).reshape(2, 3)
    released = release(LAYOUT, ALL, {}, adapter() | {"a.weight": values}, encoder(codec), 11)
    read = decoded(released.tensors, LAYOUT, codec)
    assert released.norm == pytest.approx(math.sqrt(sum(float(np.square(each).sum()) for each in read.values())))
    for name, shape in LAYOUT.shapes().items():
        assert read[name].shape == shape


def test_an_encoder_that_sends_something_else_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"", b"Ada Lovelace", encoded(adapter(), LAYOUT) + b"Ada"):
        piece = Encoded(content, np.zeros(10, np.float32))
        monkeypatch.setattr(Encoder, "pieces", lambda *_, piece=piece, **_kw: iter([piece]))
        with pytest.raises(EgressError):
            release(LAYOUT, ALL, {}, adapter(), encoder(), 0)


def test_the_norm_of_the_largest_values_is_a_number() -> None:
    largest = float(np.finfo(np.float32).max)
    layout = AdapterLayout((TensorSpec("a", (4,), "zeros"),), ())
    released = release(layout, ALL, {}, {"a": np.full(4, largest, np.float32)}, encoder(), 0)
    assert released.norm == pytest.approx(2 * largest)


def test_the_parts_of_an_update_are_told_apart() -> None:
    factors = [TensorSpec(f"encoder.query.lora_{side}.weight", (1, 1), "zeros") for side in "AB"]
    head = TensorSpec("classifier.weight", (1, 1), "zeros")
    assert AdapterLayout((head, *factors), ("classifier",)).parts == ("adapter", "head")
    assert AdapterLayout(tuple(factors), ()).parts == ("adapter",)
    assert AdapterLayout((head,), ("classifier",)).parts == ("head",)
    assert AdapterLayout((), ()).parts == ()


def test_what_leaves_of_a_network_trained_whole_is_a_model() -> None:
    layout = AdapterLayout((TensorSpec("output.weight", (1, 2), "uniform"),), ())
    update: Arrays = {"output.weight": np.zeros((1, 2), np.float32)}
    assert release(layout, ALL, {}, update, encoder(), 0).parts == ("model",)
    headed = AdapterLayout((*layout.tensors, TensorSpec("classifier.weight", (1, 1), "uniform")), ("classifier",))
    update["classifier.weight"] = np.zeros((1, 1), np.float32)
    assert release(headed, ALL, {}, update, encoder(), 0).parts == ("model", "head")


@given(names=st.lists(st.text(max_size=200), min_size=1, max_size=5, unique=True))
def test_a_file_as_small_as_its_tensors_always_fits(names: list[str]) -> None:
    layout = AdapterLayout(tuple(TensorSpec(name, (3,), "zeros") for name in sorted(names)), ())
    values: Arrays = {name: np.zeros(3, np.float32) for name in names}
    if "__metadata__" in names:
        return
    blob = write_adapter(values)
    if len(blob) <= maximum_blob_bytes(layout):
        assert set(read_adapter(blob, layout)) == set(names)
