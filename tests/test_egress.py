# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
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

from cloister.egress import (
    difference,
    maximum_blob_bytes,
    permitted_metrics,
    read_adapter,
    release,
    release_metrics,
    write_adapter,
)
from cloister.errors import DeniedError, EgressError
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import Arrays, TensorSpec
from cloister.jobs.compression import CodecName
from cloister.wire import CODECS, Encoded, Encoder
from tests.flare.wire_form import decoded, encoded

ATTACKS = Path(__file__).parents[2] / "shared" / "data" / "bad_inputs" / "safetensors_attacks"
LAYOUT = AdapterLayout(
    (TensorSpec("a.weight", (2, 3), "uniform"), TensorSpec("b.bias", (4,), "zeros")), ("classifier",)
)
ALL = frozenset({"accuracy", "macro_f1", "loss", "train_loss"})


def adapter(fill: float = 0.5) -> Arrays:
    return {"a.weight": np.full((2, 3), fill, np.float32), "b.bias": np.arange(4, dtype=np.float32)}


def encoder(codec: CodecName = "float32") -> Encoder:
    return Encoder(CODECS[codec], error_feedback=False)


def blob_of(header: dict[str, Any] | bytes, values: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


def header_of(**changes: Any) -> dict[str, Any]:
    """The header of a valid file of 40 bytes of values, with changes to its entries; None takes one out."""
    header: dict[str, Any] = {
        "a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b.bias": {"dtype": "F32", "shape": [4], "data_offsets": [24, 40]},
    }
    for name, change in changes.items():
        key = name.replace("__", ".")
        if change is None:
            del header[key]
        else:
            header[key] = header.get(key, {}) | change
    return header


def refusal(blob: bytes) -> str:
    with pytest.raises(EgressError) as caught:
        read_adapter(blob, LAYOUT)
    assert isinstance(caught.value, DeniedError)
    return caught.value.message


def test_the_right_tensors_pass_as_they_are() -> None:
    assert blob_of(header_of(), bytes(40))  # the header the other tests bend is itself a valid one
    zeros = read_adapter(blob_of(header_of(), bytes(40)), LAYOUT)
    assert all((array == 0).all() for array in zeros.values())
    read = read_adapter(write_adapter(adapter()), LAYOUT)
    assert {name: array.tolist() for name, array in read.items()} == {n: a.tolist() for n, a in adapter().items()}


def test_a_missing_tensor_is_named() -> None:
    assert refusal(blob_of(header_of(b__bias=None), bytes(24))) == "tensor `b.bias` is missing"


def test_a_renamed_tensor_is_missing() -> None:
    header = header_of(b__bias=None, **{"Ada Lovelace has a cough": {"dtype": "F32", "shape": [4]}})
    assert refusal(blob_of(header, bytes(40))) == "tensor `b.bias` is missing"


def test_an_extra_tensor_is_refused_and_its_name_is_not_said() -> None:
    extra = {"dtype": "F32", "shape": [1], "data_offsets": [40, 44]}
    message = refusal(blob_of(header_of(**{"Ada Lovelace has a cough": extra}), bytes(44)))
    assert message == "some tensors are not part of this job"


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [3, 2]},
        {"shape": [6]},
        {"shape": [2, 3, 1]},
        {"shape": []},
        {"shape": [2, 4]},
        {"shape": [-2, -3]},
        {"shape": "23"},
        {"dtype": "BF16", "data_offsets": [0, 12]},
        {"dtype": "F16", "data_offsets": [0, 12]},
        {"dtype": "F64", "data_offsets": [0, 48]},
        {"dtype": "I32"},
        {"dtype": "U32"},
        {"dtype": "f32"},
        {"dtype": ["F32"]},
        {"dtype": None},
    ],
)
def test_another_shape_or_type_is_refused(change: dict[str, Any]) -> None:
    assert (
        refusal(blob_of(header_of(a__weight=change), bytes(40))) == "tensor `a.weight` is not float32 of shape [2, 3]"
    )


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int32, np.int64, np.uint8, np.bool_])
def test_real_files_of_other_types_are_refused(kind: type) -> None:
    other = {name: array.astype(kind) for name, array in adapter(1.0).items()}
    assert "is not float32" in refusal(bytes(safetensors.numpy.save(other)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["a.weight", "b.bias"])
def test_a_value_that_is_not_finite_is_refused(name: str, value: float) -> None:
    bad = adapter()
    bad[name].flat[-1] = value
    assert refusal(write_adapter(bad)) == f"tensor `{name}` holds a value that is not finite"


def test_metadata_may_come_in_and_never_goes_out() -> None:
    blob = bytes(safetensors.numpy.save(adapter(), metadata={"patient": "Ada Lovelace"}))
    assert b"Lovelace" in blob
    released = release(LAYOUT, ALL, {}, read_adapter(blob, LAYOUT), encoder(), 0)
    assert b"Lovelace" not in released.tensors
    assert b"__metadata__" not in released.tensors


def test_a_file_above_the_size_of_its_tensors_is_refused_unread() -> None:
    header = json.dumps(header_of()).encode()
    padded = blob_of(header + b" " * maximum_blob_bytes(LAYOUT), bytes(40))
    assert refusal(padded) == "the adapter has more bytes than the job's tensors take"


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"CLS1",
        struct.pack("<Q", 2**62),
        struct.pack("<Q", 2**64 - 1) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        blob_of(b""),
        blob_of(b"[]"),
        blob_of(b"null"),
        blob_of(b'"a.weight"'),
        blob_of(b"{"),
        blob_of(b"\xff\xfe\xfd"),
        blob_of(b'{"a.weight": []}'),
        blob_of(b'{"a.weight": {"dtype": "F32"}}'),
        blob_of(b'{"a.weight": {"dtype": "F32", "shape": 6}}'),
        blob_of(b"[" * 1000),
        blob_of(b'{"a":' * 250),
    ],
)
def test_what_is_no_safetensors_file_is_refused(blob: bytes) -> None:
    assert refusal(blob) == "the adapter is not a safetensors file"


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({"b__bias": {"data_offsets": [20, 36]}}, 40),  # overlaps
        ({"b__bias": {"data_offsets": [28, 44]}}, 44),  # leaves a hole that nobody looks into
        ({"b__bias": {"data_offsets": [24, 39]}}, 40),
        ({"b__bias": {"data_offsets": [40, 24]}}, 40),
        ({"b__bias": {"data_offsets": [-16, 0]}}, 40),
        ({"b__bias": {"data_offsets": [24, 2**63]}}, 40),
        ({"b__bias": {"data_offsets": "all"}}, 40),
        ({"b__bias": {"shape": [4.0]}}, 40),
        ({"a__weight": {"shape": [2, 3], "data_offsets": [0, 24], "patient": "Ada"}}, 41),
        ({}, 39),
        ({}, 41),  # a byte behind the last tensor
    ],
)
def test_values_that_do_not_fit_their_header_are_refused(changes: dict[str, Any], size: int) -> None:
    assert refusal(blob_of(header_of(**changes), bytes(size))) == "the adapter is not a safetensors file"


def test_a_tensor_that_stands_twice_does_not_slip_between_two_parsers() -> None:
    right = json.dumps(header_of())[1:-1]
    wrong = '"a.weight": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]}'
    for text in (f"{{{wrong}, {right}}}", f"{{{right}, {wrong}}}"):
        blob = blob_of(text.encode(), bytes(40))
        try:
            read = read_adapter(blob, LAYOUT)
        except EgressError:
            continue
        assert {name: array.shape for name, array in read.items()} == LAYOUT.shapes()


@given(cut=st.integers(min_value=0, max_value=200))
def test_a_truncated_file_is_refused(cut: int) -> None:
    blob = write_adapter(adapter())
    with pytest.raises(EgressError):
        read_adapter(blob[: min(cut, len(blob) - 1)], LAYOUT)


@given(position=st.integers(min_value=0), value=st.integers(min_value=0, max_value=255))
def test_a_flipped_byte_is_refused_or_changes_a_value_only(position: int, value: int) -> None:
    blob = bytearray(write_adapter(adapter()))
    blob[position % len(blob)] = value
    try:
        read = read_adapter(bytes(blob), LAYOUT)
    except EgressError:
        return
    assert {name: array.shape for name, array in read.items()} == LAYOUT.shapes()
    assert all(np.isfinite(array).all() and array.dtype == np.float32 for array in read.values())


@pytest.mark.skipif(not ATTACKS.is_dir(), reason="the collection of bad inputs is not on this machine")
def test_published_attacks_on_the_format_are_refused() -> None:
    found = sorted([*ATTACKS.glob("*.safetensors"), *ATTACKS.glob("*.safetensors.gz")])
    assert len(found) >= 5
    for path in found:
        blob = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        with pytest.raises(EgressError):
            read_adapter(blob, LAYOUT)
        with pytest.raises(EgressError):  # also where the file is not refused for its size alone
            read_adapter(blob, AdapterLayout((TensorSpec("w" * 600, (max(len(blob), 1),), "zeros"),), ()))


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
    text = json.dumps(header_of(), indent=3).encode() + b" " * 64
    sloppy = blob_of(text, write_adapter(adapter())[-40:])
    assert release(LAYOUT, ALL, {}, read_adapter(sloppy, LAYOUT), encoder(), 0).tensors == encoded(adapter(), LAYOUT)


def test_the_update_is_what_training_added() -> None:
    update = difference(adapter(0.75), adapter(0.5))
    assert update["a.weight"].tolist() == [[0.25] * 3] * 2
    assert not update["b.bias"].any()


@pytest.mark.filterwarnings("ignore:overflow")
def test_an_update_that_overflows_is_refused() -> None:
    update = difference(adapter(3e38), adapter(-3e38))
    with pytest.raises(EgressError, match="not finite"):
        release(LAYOUT, ALL, {}, update, encoder(), 0)


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"a.weight": np.zeros((2, 3), np.float32)},
        {**adapter(), "c": np.zeros(1, np.float32)},
        {**adapter(), "b.bias": np.zeros(5, np.float32)},
        {**adapter(), "b.bias": np.zeros((2, 2), np.float32)},
        {**adapter(), "b.bias": np.full(4, np.nan, np.float32)},
    ],
)
def test_an_update_that_is_not_the_jobs_is_refused(update: Arrays) -> None:
    with pytest.raises(EgressError):
        release(LAYOUT, ALL, {}, update, encoder(), 0)


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
        monkeypatch.setattr(Encoder, "encode", lambda *_, content=content: Encoded(content, np.zeros(10, np.float32)))
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
