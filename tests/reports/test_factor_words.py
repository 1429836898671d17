# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from cloister.reports.factor_words import factor_words


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (None, ""),
        ({"averaging_error": 0.1234, "cut_off": 0.004}, "averaging factors would have been off by 12 %, 0.4 % cut off"),
        ({"averaging_error": 1.5, "cut_off": 3e-9}, "averaging factors would have been off by 150 %, 0 % cut off"),
        ({"averaging_error": 1e-12, "cut_off": 0.0}, "averaging factors would have been off by 0 %, 0 % cut off"),
        ({"averaging_error": None, "cut_off": 0.25}, "25 % cut off"),
    ],
)
def test_shares_are_told_in_per_cent(told: dict[str, Any] | None, said: str) -> None:
    assert factor_words({"round": 1, "factors": told}) == said


def test_a_result_from_before_it_was_told_has_nothing_to_say() -> None:
    assert factor_words({"round": 1}) == ""
