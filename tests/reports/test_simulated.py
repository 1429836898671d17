# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cloister.reports.simulated import simulated


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"sites": None, "skew": None}, "Simulated on one machine: no record was at another organisation."),
        (
            {"sites": 4, "skew": None},
            "Simulated on one machine: the sites are copies, among which the records were dealt out.",
        ),
        (
            {"sites": 4, "skew": 0.5},
            "Simulated on one machine: the sites are copies, among which the records were dealt out, classes by "
            "Dirichlet(0.5).",
        ),
        (
            {"sites": 4, "skew": "<b>"},
            "Simulated on one machine: the sites are copies, among which the records were dealt out.",
        ),
        (None, ""),
        ("yes", ""),
    ],
)
def test_a_simulation_is_told_as_one(told: object, said: str) -> None:
    assert simulated({} if told is None else {"simulation": told}) == said
