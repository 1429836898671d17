# SPDX-License-Identifier: Apache-2.0
"""What of an update is added to what, where not all of it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from cloister.flare.combined_updates import _part_of
from cloister.jobs import AdapterLayout, TensorSpec
from cloister.jobs.kept_tensors import is_control
from cloister.vectors import BLOCK_VALUES, ArraySource, Vector, blocks_of
from cloister.wire import Schema, flatten

MANY = AdapterLayout(
    tuple(
        TensorSpec(name, (20_000 + place,), "zeros")
        for place, name in enumerate(
            sorted(f"{prefix}{number:02d}" for prefix in ("control.", "l.") for number in range(60))
        )
    ),
    (),
)


@dataclass(frozen=True)
class Counted(ArraySource):
    """A source that notes which blocks it was asked for."""

    asked: list[int] = field(default_factory=list)

    def block(self, number: int) -> Vector:
        self.asked.append(number)
        return super().block(number)


def test_a_part_of_an_update_is_decoded_no_more_often_than_it_must() -> None:
    values = np.arange(Schema.of(MANY).size, dtype=np.float32)
    arrays = {name: values[place] for name, place in Schema.of(MANY).places.items()}
    for wanted in (True, False):
        part = replace(MANY, tensors=tuple(tensor for tensor in MANY.tensors if is_control(tensor.name) is wanted))
        source = Counted(values)
        found = _part_of(source, MANY, part)
        blocks = [found.block(number) for number in range(blocks_of(found.size))]
        assert [block.size for block in blocks[:-1]] == [BLOCK_VALUES] * (len(blocks) - 1)
        expected = flatten({tensor.name: arrays[tensor.name] for tensor in part.tensors}, Schema.of(part))
        np.testing.assert_array_equal(np.concatenate(blocks), expected)
        assert len(source.asked) <= 2 * len(blocks)


def test_a_whole_update_is_not_copied() -> None:
    source = ArraySource(np.zeros(Schema.of(MANY).size, np.float32))
    assert _part_of(source, MANY, MANY) is source
