# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cloister.reports.byte_count import size_of


@pytest.mark.parametrize(("count", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB")])
def test_sizes(count: int, words: str) -> None:
    assert size_of(count) == words
