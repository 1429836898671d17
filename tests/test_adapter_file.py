# SPDX-License-Identifier: Apache-2.0
"""What of a file that a trainer wrote may be read, and what is refused."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from cloister.adapter_file import AdapterFile, is_finite, maximum_blob_bytes, maximum_header_bytes
from cloister.egress import write_adapter
from cloister.errors import DeniedError, EgressError
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import Arrays, TensorSpec
from cloister.vectors import BLOCK_VALUES
from tests.blobs import read_adapter

ATTACKS = Path(__file__).parents[2] / "shared" / "data" / "bad_inputs" / "safetensors_attacks"
LAYOUT = AdapterLayout(
    (TensorSpec("a.weight", (2, 3), "uniform"), TensorSpec("b.bias", (4,), "zeros")), ("classifier",)
)


def adapter(fill: float = 0.5) -> Arrays:
    return {"a.weight": np.full((2, 3), fill, np.float32), "b.bias": np.arange(4, dtype=np.float32)}


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


def test_a_file_above_the_size_of_its_tensors_is_refused_unread() -> None:
    header = json.dumps(header_of()).encode()
    padded = blob_of(header + b" " * maximum_blob_bytes(LAYOUT), bytes(40))
    assert refusal(padded) == "the adapter has more bytes than the job's tensors take"


def test_a_header_longer_than_the_tensors_take_is_refused_unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(_text: bytes) -> None:
        raise AssertionError("a list of lists takes a hundred times its length in memory")

    monkeypatch.setattr(json, "loads", parse)
    header = b"[" + b"[]," * 517 + b"[]]"
    assert maximum_header_bytes(LAYOUT) < len(header) < maximum_blob_bytes(LAYOUT) - 8
    assert refusal(blob_of(header)) == "the adapter is not a safetensors file"


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


def test_tensors_are_read_in_the_layouts_order_whatever_the_files(tmp_path: Path) -> None:
    header = header_of(a__weight={"data_offsets": [16, 40]}, b__bias={"data_offsets": [0, 16]})
    (tmp_path / "turned").write_bytes(blob_of(header, np.arange(10, dtype="<f4").tobytes()))
    found = AdapterFile.open(tmp_path / "turned", LAYOUT)
    assert found.part(LAYOUT).block(0).tolist() == [4, 5, 6, 7, 8, 9, 0, 1, 2, 3]


def test_tensors_longer_than_a_block_are_looked_at_to_their_last_value(tmp_path: Path) -> None:
    layout = AdapterLayout((TensorSpec("a", (BLOCK_VALUES + 3,), "zeros"), TensorSpec("b", (5,), "zeros")), ())
    values = {"a": np.arange(BLOCK_VALUES + 3, dtype=np.float32), "b": np.full(5, 7, np.float32)}
    (tmp_path / "good").write_bytes(write_adapter(values))
    part = AdapterFile.open(tmp_path / "good", layout).part(layout)
    assert np.array_equal(np.concatenate([part.block(0), part.block(1)]), np.concatenate([values["a"], values["b"]]))
    values["a"][-1] = np.inf
    (tmp_path / "bad").write_bytes(write_adapter(values))
    with pytest.raises(EgressError, match="tensor `a` holds"):
        AdapterFile.open(tmp_path / "bad", layout)


def test_a_file_that_became_shorter_is_refused_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(write_adapter(adapter()))
    found = AdapterFile.open(path, LAYOUT)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(EgressError):
        found.part(LAYOUT).block(0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_is_enough_not_to_be_finite(value: float) -> None:
    values = np.array([-3e38, 3e38, 0, -0.0], np.float32)
    assert is_finite(values)
    assert is_finite(values[:0])
    for place in range(4):
        bad = values.copy()
        bad[place] = value
        assert not is_finite(bad)
