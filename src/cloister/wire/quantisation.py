# SPDX-License-Identifier: Apache-2.0
"""Values as whole multiples of a step that is a group's own, rounded up or down by chance so that none is biased.

Absmax quantisation by blocks (https://arxiv.org/abs/2110.02861, section 2.1) with stochastic rounding (QSGD,
https://arxiv.org/abs/1610.02132, section 3.1): v becomes floor(v / step + u) with u uniform on [0, 1), whose
expectation is v / step. The step is the group's largest absolute value over the number of levels, rounded up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from cloister.errors import EgressError
from cloister.vectors import Vector

GROUP_VALUES = 256
"""Consecutive values that share a step; the last group of a block may have fewer."""

LIMIT = 2.0**127
"""The largest absolute value: half of float32's range, so that a step that was rounded up does not leave it."""

Bytes = npt.NDArray[np.uint8]
_Halves = npt.NDArray[np.uint16]

_RANDOM_BITS = 16
_PIECE_VALUES = 1 << 16  # what is worked on at a time, so that it stays in the processor's cache
_SLACK = 1 + 2.0**-20  # more than two roundings of float32 can lift a value above the last level
_DROPPED_BITS = 19  # of float32's 23 after the leading one: a wider step costs what its bits save, down to about four
_LEAST_STEP = np.float32(2.0**-126)  # its inverse is still finite; values below it, and groups of zeros, have it too
_UNUSED_BITS = (1 << _DROPPED_BITS - 16) - 1  # of a step as bfloat16
_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True)
class Quantised:
    """What is left of a block.

    Attributes:
        steps: bfloat16 as its 16 bits, one for each group.
        codes: uint8, one for each value: number of steps, plus levels, plus 1.
    """

    steps: _Halves
    codes: Bytes


def groups_of(count: int) -> int:
    """How many groups ``count`` values make."""
    return -(-count // GROUP_VALUES)


def quantise(block: Vector, levels: int, random: Generator) -> Quantised:
    """Round ``block`` to -levels … levels steps.

    Args:
        block: float32, of at most `LIMIT` each.
        levels: 7 or 127.
        random: whose raw bits decide; 16 for each value, so that an expectation is off by less than 2^-15 of a step.
    """
    count = block.size
    dither = random.bit_generator.random_raw(-(-count // 4)).astype("<u8", copy=False).view("<u2")
    steps, codes = np.empty(groups_of(count), np.uint16), np.empty(count, np.uint8)
    for start in range(0, count, _PIECE_VALUES):
        part = slice(start, min(start + _PIECE_VALUES, count))
        values = _in_groups(block[part])
        kept = steps[start // GROUP_VALUES :][: len(values)]
        kept[...] = _steps(values, levels)
        wide = _widened(kept)
        inverse = np.float32(1) / wide
        chance = dither[part].astype(np.float32)
        chance *= np.float32(2.0**-_RANDOM_BITS)
        chance += np.float32(levels + 1)
        scaled = (values * inverse[:, None]).reshape(-1)[: chance.size]
        scaled += chance
        codes[part] = scaled.astype(np.uint8)  # towards 0, which is down: none is below 1
    return Quantised(steps, codes)


def restore(quantised: Quantised, levels: int) -> Vector:
    """The values that ``quantised`` stands for.

    Raises:
        EgressError: where a step is none that values have: negative, below the least, with more than five significant
            bits, not finite, or so large that a value would not be; or a code that no value is rounded to.
    """
    steps, codes = _widened(quantised.steps), quantised.codes
    sound = (quantised.steps < 1 << 15) & (quantised.steps & _UNUSED_BITS == 0) & (steps >= _LEAST_STEP)
    if not (sound.all() and steps.max() <= _LARGEST / (levels + 1)):
        raise EgressError("a step of the update is not one that values have")
    if not (codes.min() >= 1 and codes.max() <= 2 * levels + 1):
        raise EgressError("a code of the update is not one that values have")
    values = np.empty(groups_of(codes.size) * GROUP_VALUES, np.float32)
    for start in range(0, codes.size, _PIECE_VALUES):
        part = values[start : start + _PIECE_VALUES]
        some = codes[start : start + _PIECE_VALUES]
        part[: some.size] = some
        part[some.size :] = levels + 1
        part -= np.float32(levels + 1)
        part.reshape(-1, GROUP_VALUES)[...] *= steps[start // GROUP_VALUES :][: part.size // GROUP_VALUES, None]
    return values[: codes.size]


def error_bound(block: Vector, levels: int) -> Vector:
    """One step for each value: rounding goes to the multiple below or above."""
    steps = _widened(_steps(_in_groups(block), levels))
    return np.repeat(steps, GROUP_VALUES)[: block.size]


def _steps(groups: npt.NDArray[np.float32], levels: int) -> _Halves:
    """The step of each row, rounded up to five significant bits: its largest value is then at most ``levels`` steps."""
    largest = np.abs(groups).max(axis=1)
    steps = np.maximum(largest * np.float32(_SLACK / levels), _LEAST_STEP)
    up = steps.view(np.uint32) + np.uint32((1 << _DROPPED_BITS) - 1)
    rounded: _Halves = (up >> _DROPPED_BITS << _DROPPED_BITS - 16).astype(np.uint16)
    return rounded


def _widened(steps: _Halves) -> Vector:
    bits: npt.NDArray[np.uint32] = steps.astype(np.uint32) << np.uint32(16)
    return bits.view(np.float32)


def _in_groups(values: Vector) -> npt.NDArray[np.float32]:
    rest = -values.size % GROUP_VALUES
    return (np.pad(values, (0, rest)) if rest else values).reshape(-1, GROUP_VALUES)
