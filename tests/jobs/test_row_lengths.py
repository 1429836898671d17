# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from cloister.errors import RecordsError
from cloister.jobs.row_lengths import row_lengths


def written(folder: Path, weight: np.ndarray) -> Path:
    safetensors.numpy.save_file({"layer.weight": weight}, folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (5, 7), (2050, 3)])
@pytest.mark.parametrize("transposed", [False, True])
def test_are_those_of_the_output_rows(
    shape: tuple[int, int], dtype: type[np.generic], transposed: bool, tmp_path: Path
) -> None:
    weight = np.random.default_rng(3).normal(size=shape).astype(dtype)
    found = np.frombuffer(row_lengths(written(tmp_path, weight), "layer.weight", transposed=transposed), "<f4")
    expected = np.linalg.norm(weight.astype(np.float64), axis=0 if transposed else 1)
    assert found.shape == expected.shape
    assert np.allclose(found, expected, rtol=2e-7, atol=0)


def test_are_the_same_bytes_in_whatever_order_the_values_lie_in_memory(tmp_path: Path) -> None:
    weight = np.random.default_rng(4).normal(size=(64, 100)).astype(np.float32)
    (tmp_path / "t").mkdir()
    straight = row_lengths(written(tmp_path, weight), "layer.weight", transposed=False)
    turned = written(tmp_path / "t", np.ascontiguousarray(weight.T))
    assert row_lengths(turned, "layer.weight", transposed=True) == straight


def test_are_summed_in_an_order_that_is_written_down(tmp_path: Path) -> None:
    # 2^53 + 1 is no float64: added one after another both ones would be lost, added in halves they are not.
    weight = np.array([[2.0**26.5, 1.0, 0.0, 1.0]])
    found = np.frombuffer(row_lengths(written(tmp_path, weight), "layer.weight", transposed=False), "<f4")
    squares = weight[0] ** 2
    assert found[0] == np.float32(np.sqrt((squares[0] + squares[2]) + (squares[1] + squares[3])))


@pytest.mark.parametrize("name", ["other.weight", ""])
def test_a_weight_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    file = written(tmp_path, np.zeros((2, 2), np.float32))
    with pytest.raises(RecordsError, match="cannot be read"):
        row_lengths(file, name, transposed=False)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="cannot be read"):
        row_lengths(tmp_path / "none", "a", transposed=False)
