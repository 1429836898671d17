# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from cloister.aggregation.factors.pairs import Pair, Trained, in_order, mean_of, pairs_of, rest_of
from cloister.jobs.adapter import Arrays

NAMES = ("b.lora_B.weight", "b.lora_A.weight", "a.lora_A.weight", "a.lora_B.weight", "head.weight", "head.bias")


def site(name: str, weight: float, value: float = 0.0) -> Trained:
    return Trained(name, weight, {"head.bias": np.full(2, value, np.float32)})


def test_layers_are_found_and_sorted() -> None:
    assert pairs_of(NAMES) == (Pair("a"), Pair("b"))
    assert (Pair("a").a, Pair("a").b) == ("a.lora_A.weight", "a.lora_B.weight")
    assert rest_of(NAMES) == ("head.bias", "head.weight")
    assert pairs_of(()) == ()


@pytest.mark.parametrize("name", ["c.lora_A.weight", "c.lora_B.weight"])
def test_one_factor_alone_is_combined_value_by_value(name: str) -> None:
    # As where a job keeps B at the sites and shares A alone.
    assert pairs_of((*NAMES, name)) == (Pair("a"), Pair("b"))
    assert rest_of((*NAMES, name)) == (name, "head.bias", "head.weight")


def test_a_control_variate_is_no_factor() -> None:
    names = ("a.lora_A.weight", "a.lora_B.weight", "control.a.lora_A.weight", "control.a.lora_B.weight")
    assert pairs_of(names) == (Pair("a"),)
    assert rest_of(names) == ("control.a.lora_A.weight", "control.a.lora_B.weight")


def test_a_product_is_b_times_a() -> None:
    arrays: Arrays = {"a.lora_A.weight": np.ones((2, 5), np.float32), "a.lora_B.weight": np.ones((3, 2), np.float32)}
    b, a = Pair("a").of(arrays)
    assert b.dtype == a.dtype == np.float64
    assert (b @ a).shape == (3, 5)


def test_shares_add_up_in_the_order_of_names() -> None:
    known, shares = in_order([site("z", 3), site("a", 1)])
    assert [each.site for each in known] == ["a", "z"]
    assert shares == [0.25, 0.75]


@pytest.mark.parametrize("trained", [[], [site("a", 0.0)], [site("a", -1)], [site("a", 1), site("a", 2)]])
def test_what_cannot_be_weighed_is_refused(trained: list[Trained]) -> None:
    with pytest.raises(ValueError, match="one update of each site"):
        in_order(trained)


def test_a_mean_is_weighted() -> None:
    means = mean_of(["head.bias"], [site("a", 1, 4), site("b", 3, 8)])
    np.testing.assert_array_equal(means["head.bias"], np.full(2, 7, np.float32))
    assert means["head.bias"].dtype == np.float32
