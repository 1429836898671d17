# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
import pytest

from cloister.aggregation import Contribution
from cloister.aggregation.factors import Trained, for_site, refactored
from cloister.aggregation.factors.refactored_mean import RefactoredMean, arrays_of, lifted_update, vector_of
from cloister.aggregation.norm_bounding import NormBounding
from cloister.jobs.adapter import Arrays
from cloister.vectors import ArraySource
from tests.aggregation.factors.drawn import LAYERS, Sizes, error, layout, mean_product, product, sites, values

OF = layout(Sizes(40, 30, 6))


def contribution(each: Trained, given: Arrays, rank: int = 6) -> Contribution:
    update = {name: each.arrays[name] - given[name] for name in given}
    return Contribution(each.site, each.weight, ArraySource(vector_of(OF.at_rank(rank), update)))


def after(rule: RefactoredMean | NormBounding, current: Arrays, came: list[Contribution]) -> Arrays:
    vector = np.concatenate(list(rule.combine(came)))
    return {name: current[name] + change for name, change in arrays_of(OF, ArraySource(vector)).items()}


def test_it_comes_to_the_refactored_tensors() -> None:
    current = values(OF, 0)
    trained = sites(OF, [1, 20, 300], 1, current)
    rule = RefactoredMean(OF, current)
    found = after(rule, current, [contribution(each, current) for each in trained])
    wanted = refactored(current, trained)
    for name, array in wanted.arrays.items():
        np.testing.assert_allclose(found[name], array, atol=1e-5)
    assert rule.cut_off == pytest.approx(wanted.cut_off, rel=1e-4)
    assert rule.needed(0) == 1 and rule.needed(1) is None


def test_the_order_of_arrival_does_not_show() -> None:
    current = values(OF, 0)
    came = [contribution(each, current) for each in sites(OF, [1, 20, 300], 1, current)]
    found = {
        np.concatenate(list(RefactoredMean(OF, current).combine(order))).tobytes()
        for order in itertools.permutations(came)
    }
    assert len(found) == 1


def test_a_bound_on_norms_stands_before_it() -> None:
    current = values(OF, 0)
    came = [contribution(each, current) for each in sites(OF, [1, 2], 1, current)]
    still = after(NormBounding(RefactoredMean(OF, current), 1e-6), current, came)
    for layer in LAYERS:
        assert error(product(still, layer), product(current, layer)) < 1e-5


def test_sites_of_lower_ranks_are_lifted_to_the_jobs() -> None:
    current = values(OF, 0)
    trained, came = [], []
    for index, rank in enumerate((6, 3, 1)):
        given = for_site(current, rank)
        (each,) = sites(OF.at_rank(rank), [index + 1.0], index, given)
        each = Trained(f"s{index}", each.weight, each.arrays)
        sent = contribution(each, given, rank)
        if rank < 6:
            sent = Contribution(sent.site, sent.weight, lifted_update(OF, current, rank, sent.update))
        trained.append(each)
        came.append(sent)
    found, wanted = after(RefactoredMean(OF, current), current, came), refactored(current, trained).arrays
    for layer in LAYERS:
        assert error(product(found, layer), product(wanted, layer)) < 1e-5
        assert error(product(found, layer), mean_product(trained, layer)) > 0.01


def test_a_vector_is_the_tensors_in_their_order() -> None:
    arrays = values(OF, 0)
    back = arrays_of(OF, ArraySource(vector_of(OF, arrays)))
    assert all(np.array_equal(back[name], array) for name, array in arrays.items())
    with pytest.raises(ValueError, match="a vector of 3 values is none of"):
        arrays_of(OF, ArraySource(np.zeros(3, np.float32)))
