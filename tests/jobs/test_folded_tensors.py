# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import get_args

from cloister.jobs.aggregation import Aggregation, FactorRule
from cloister.jobs.folded_tensors import apart_from_folded, folds


def test_one_rule_alone_folds() -> None:
    assert [rule for rule in get_args(FactorRule) if folds(Aggregation(factors=rule))] == ["flora"]
    assert not folds(Aggregation())


def test_what_is_to_fold_in_has_the_names_of_what_is_trained() -> None:
    assert apart_from_folded({"folded.a": 1, "a": 2, "kept.a": 3}) == ({"a": 2, "kept.a": 3}, {"a": 1})
