# SPDX-License-Identifier: Apache-2.0
"""How long the rows of a base model's weights are, the same to the last bit at every site.

DoRA (https://arxiv.org/abs/2402.09353, equation 5) trains these lengths. They are exchanged as differences, for the
server has no base model; what the differences are added to must not depend on whose processor summed up the squares.
"""

from __future__ import annotations

from pathlib import Path

import ml_dtypes  # noqa: F401 - with it numpy has bfloat16, in which many base models are stored
import numpy as np
import numpy.typing as npt
import safetensors

from cloister.errors import RecordsError

_ROWS = 1024
"""How many rows are squared at once, so that memory stays bounded."""


def row_lengths(file: Path, name: str, *, transposed: bool) -> bytes:
    """Euclidean (L2) length of each row of the weight ``name`` in ``file``, as little-endian float32.

    Args:
        file: safetensors.
        name: of a weight of two dimensions, (output, input).
        transposed: whether it is (input, output).

    Raises:
        RecordsError: where its values cannot be read.
    """
    try:
        with safetensors.safe_open(file, framework="numpy") as stream:
            weight = stream.get_tensor(name)
        rows = weight.T if transposed else weight
        return np.concatenate([_lengths(rows[start : start + _ROWS]) for start in range(0, len(rows), _ROWS)]).tobytes()
    except (OSError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise RecordsError(f"the weight `{name}` of base model file `{file}` cannot be read") from error


def _lengths(rows: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Of each of ``rows``.

    A sum of a library's own runs in an order that the processor decides. Halves that are added value by value, in
    float64, run in this one.
    """
    width = 1 << max(rows.shape[1] - 1, 0).bit_length()
    squares = np.zeros((len(rows), width))
    squares[:, : rows.shape[1]] = rows.astype(np.float64) ** 2
    while width > 1:
        width //= 2
        squares = squares[:, :width] + squares[:, width:]
    return np.sqrt(squares[:, 0]).astype("<f4")
