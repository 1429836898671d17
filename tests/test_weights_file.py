# SPDX-License-Identifier: Apache-2.0
"""Weights in a file: what `safetensors` writes, read and changed block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from cloister import weights_file as module
from cloister.egress import write_adapter
from cloister.errors import JobError
from cloister.files import sha256_of
from cloister.jobs import AdapterLayout, TensorSpec, initial_adapter
from cloister.jobs.adapter import initial_values
from cloister.vectors import BLOCK_VALUES, Vector
from cloister.weights_file import WeightsFile

LAYOUT = AdapterLayout(
    (
        TensorSpec("a.lora_A.weight", (2, 3), "uniform"),
        TensorSpec("a.lora_B.weight", (4, 2), "zeros"),
        TensorSpec("b.bias", (5,), "ones"),
        TensorSpec("b.weight", (3, 5), "normal"),
    ),
    ("b",),
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_VALUES", 4)


def written(folder: Path, layout: AdapterLayout = LAYOUT, seed: int = 3) -> WeightsFile:
    return WeightsFile.write(folder / "weights.safetensors", layout, initial_values(layout, seed))


def test_the_file_is_what_safetensors_writes(tmp_path: Path) -> None:
    assert written(tmp_path).path.read_bytes() == write_adapter(initial_adapter(LAYOUT, 3))


def test_arrays_are_those_that_safetensors_reads(tmp_path: Path) -> None:
    weights = written(tmp_path)
    found = safetensors.numpy.load_file(weights.path)
    assert found.keys() == weights.arrays().keys()
    for name, array in weights.arrays().items():
        np.testing.assert_array_equal(array, found[name])


def test_blocks_are_the_vector(tmp_path: Path) -> None:
    weights = written(tmp_path)
    whole = np.concatenate([array.ravel() for array in initial_adapter(LAYOUT, 3).values()])
    blocks = [weights.block(number) for number in range(-(-weights.size // 4))]
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    assert {block.size for block in blocks[:-1]} == {4}


@given(st.sets(st.sampled_from([tensor.name for tensor in LAYOUT.tensors])), st.integers(0, 9))
def test_a_part_is_changed_and_the_rest_stays(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("weights")
    old = written(folder, seed=seed)
    part = AdapterLayout(tuple(tensor for tensor in LAYOUT.tensors if tensor.name in names), LAYOUT.head_modules)
    asked: list[int] = []
    seen: list[Vector] = []

    def change(number: int, values: Vector) -> Vector:
        asked.append(number)
        seen.append(values)
        return values + np.float32(1)

    new = old.changed(folder / "new.safetensors", part, change)
    before, after = old.arrays(), new.arrays()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value + 1 if name in names else value)
    assert asked == list(range(-(-part.size // 4)))
    given_whole = np.concatenate([np.empty(0, np.float32), *seen])
    np.testing.assert_array_equal(
        given_whole, np.concatenate([np.empty(0, np.float32), *(before[t.name].ravel() for t in part.tensors)])
    )


@pytest.mark.parametrize("count", [0, 31, 33])
def test_other_numbers_of_values_are_refused_and_nothing_is_written(tmp_path: Path, count: int) -> None:
    with pytest.raises(JobError):
        WeightsFile.write(tmp_path / "weights.safetensors", LAYOUT, [np.zeros(count, np.float32)])
    assert list(tmp_path.iterdir()) == []


def test_a_failing_change_leaves_the_old_file_alone(tmp_path: Path) -> None:
    old = written(tmp_path)
    content = old.path.read_bytes()

    def fail(number: int, values: Vector) -> Vector:
        raise JobError("no")

    with pytest.raises(JobError):
        old.changed(old.path, LAYOUT, fail)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [content]


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    large = AdapterLayout((TensorSpec("a", (BLOCK_VALUES + 5,), "zeros"), TensorSpec("b", (7,), "zeros")), ())
    pieces = (np.full(count, count, np.float32) for count in (BLOCK_VALUES, 5, 7))
    weights = WeightsFile.write(tmp_path / "weights", large, pieces)
    assert weights.digest() == sha256_of(weights.path.read_bytes())
    new = weights.changed(tmp_path / "new", large, lambda _, values: values + 1, over=tmp_path / "old")
    assert new.digest() == sha256_of(new.path.read_bytes()) != weights.digest()


def test_a_part_of_something_else_is_refused(tmp_path: Path) -> None:
    other = AdapterLayout((TensorSpec("c", (1,), "zeros"),), ())
    with pytest.raises(JobError, match="tensor `c` is not part"):
        written(tmp_path).changed(tmp_path / "new", other, lambda _, values: values)


def test_a_file_that_was_cut_is_told(tmp_path: Path) -> None:
    weights = written(tmp_path)
    weights.path.write_bytes(weights.path.read_bytes()[:40])
    with pytest.raises(JobError, match="end before"):
        weights.block(0)


def test_pieces_draw_what_one_draw_would(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = initial_adapter(LAYOUT, 5)
    monkeypatch.setattr("cloister.jobs.adapter._DRAWN_AT_ONCE", 3)

    def pieces() -> Iterator[Vector]:
        for piece in initial_values(LAYOUT, 5):
            assert piece.size <= 3
            yield piece

    np.testing.assert_array_equal(np.concatenate(list(pieces())), np.concatenate([v.ravel() for v in whole.values()]))
    random = np.random.Generator(np.random.PCG64(5))
    np.testing.assert_array_equal(
        whole["a.lora_A.weight"], random.uniform(-(3**-0.5), 3**-0.5, (2, 3)).astype(np.float32)
    )


@pytest.mark.parametrize("first", [0, 1])
def test_parts_that_lie_between_each_other_are_changed_in_one_writing(tmp_path: Path, first: int) -> None:
    layout = AdapterLayout(tuple(TensorSpec(name, (3,), "zeros") for name in "abcdefg"), ())
    old = WeightsFile.write(tmp_path / "old", layout, [np.arange(layout.size, dtype=np.float32)])
    parts = [replace(layout, tensors=tuple(t for t in layout.tensors if t.name in names)) for names in ("ace", "bf")]
    numbers: list[list[int]] = [[], []]

    def change(which: int, number: int, values: Vector) -> Vector:
        numbers[which].append(number)
        return values + np.float32(which + 1)

    changes = [(part, partial(change, which)) for which, part in enumerate(parts)]
    new = old.changed_in_parts(tmp_path / "new", changes[::-1] if first else changes).arrays()
    by = {"a": 1, "c": 1, "e": 1, "b": 2, "f": 2}
    for name, array in old.arrays().items():
        np.testing.assert_array_equal(new[name], array + np.float32(by.get(name, 0)))
    assert numbers == [[0, 1, 2], [0, 1]]
