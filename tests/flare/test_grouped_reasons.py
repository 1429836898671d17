# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cloister.flare.grouped_reasons import grouped

MANY = [f"alpha-{number:03d}" for number in range(1, 201)]


def test_what_hinders_two_hundred_sites_alike_is_told_once_with_their_number_and_the_first_of_them() -> None:
    reasons = [(site, "denied: `purpose`: not granted (policies/alpha.yaml:12)") for site in reversed(MANY)]
    assert grouped(reasons) == [
        (
            "200 sites (alpha-001, alpha-002, alpha-003, …)",
            "denied: `purpose`: not granted (policies/alpha.yaml:12)",
        )
    ]


def test_few_sites_are_named_and_each_reason_stays_by_itself() -> None:
    reasons = [("beta", "no"), ("alpha", "yes"), ("gamma", "no"), ("delta", "no")]
    assert grouped(reasons) == [("alpha", "yes"), ("beta, delta, gamma", "no")]
    assert grouped([]) == []


def test_reasons_that_differ_in_their_numbers_alone_are_told_as_the_first_sites() -> None:
    said = "`update-norm`: the update's norm may be 1e-06, and is {} (policies/alpha.yaml:40)"
    reasons = [(site, said.format(0.125 + number)) for number, site in enumerate(MANY)]
    ((who, why),) = grouped(reasons)
    assert who == "200 sites (alpha-001, alpha-002, alpha-003, …)"
    assert why == f"{said.format(0.125)} [numbers of alpha-001]"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("denied: no (policies/alpha.yaml:12)", "denied: no (policies/alpha.yaml:13)"),
        ("denied: no (policies/alpha.yaml:12)", "denied: no (policies/beta.yaml:12)"),
        ("`column-1` is not granted", "`column-2` is not granted"),
        ("`1st` is not granted", "`2nd` is not granted"),
    ],
)
def test_another_line_file_or_name_is_another_reason(one: str, other: str) -> None:
    assert grouped([("alpha", one), ("beta", other)]) == [("alpha", one), ("beta", other)]


def test_few_sites_keep_their_own_numbers() -> None:
    """A federation of three sites loses nothing of what each of them said."""
    said = "the view holds {} records, and 100 are the least"
    reasons = [("gamma", said.format(7)), ("alpha", said.format(9)), ("beta", "no"), ("delta", said.format(9))]
    assert grouped(reasons) == [("alpha, delta", said.format(9)), ("beta", "no"), ("gamma", said.format(7))]


def test_a_site_that_said_the_same_twice_counts_once() -> None:
    assert grouped([("alpha", "no"), ("alpha", "no"), ("alpha", "never")]) == [("alpha", "never"), ("alpha", "no")]
    twice = [(site, f"{number} records") for site in MANY[:3] for number in (1, 2)]
    assert [who for who, _ in grouped(twice)] == [", ".join(MANY[:3])] * 2
