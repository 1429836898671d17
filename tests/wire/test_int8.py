# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cloister.wire import CODECS
from cloister.wire.rounding import generator
from tests.wire.vectors import gaussian

CODEC = CODECS["int8"]


@pytest.mark.parametrize("size", [73_728, 1 << 20])
def test_gaussian_values_take_less_than_point_nine_five_bytes(size: int) -> None:
    assert len(CODEC.encode(gaussian(size), generator(1, 0))) < 0.936 * size
