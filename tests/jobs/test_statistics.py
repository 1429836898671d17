# SPDX-License-Identifier: Apache-2.0
"""Descriptions of features: whether one answers a job, and whether one over all sites can be so."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cloister.jobs import Job
from cloister.jobs.statistics import (
    CategorySummary,
    FeatureStatistics,
    Histogram,
    NumberSummary,
    answers,
    covers,
    pooled,
)

EDGES = (0.0, 50.0, 100.0)


def of(ages: list[float], missing: int = 0, wards: tuple[int, int] = (0, 0)) -> FeatureStatistics:
    """A site with so many records, `missing` of them without an age."""
    records = len(ages) + missing
    array = np.array(ages)
    mean, variance = (float(array.mean()), float(array.var())) if ages else (0.0, 0.0)
    histogram = Histogram(edges=EDGES, counts=tuple(np.histogram(array, EDGES)[0].tolist()))
    a, b = wards
    return FeatureStatistics(
        records=records,
        features={
            "age": NumberSummary(present=len(ages), missing=missing, mean=mean, variance=variance, histogram=histogram),
            "ward": CategorySummary(present=a + b, missing=records - a - b, counts={"a": a, "b": b}),
        },
    )


def changed(statistics: FeatureStatistics, column: str, **values: Any) -> FeatureStatistics:
    summary = statistics.features[column].model_copy(update=values)
    return statistics.model_copy(update={"features": {**statistics.features, column: summary}})


AGES = st.lists(st.floats(-1e4, 1e4), min_size=0, max_size=20)


@settings(max_examples=200)
@given(st.lists(st.tuples(AGES, st.integers(0, 5)), min_size=1, max_size=4))
def test_what_is_pooled_covers_each_part(sites: list[tuple[list[float], int]]) -> None:
    parts = {f"s{number}": of(ages, missing) for number, (ages, missing) in enumerate(sites)}
    whole = pooled(parts)
    assert all(covers(whole, part) for part in parts.values())


OWN = of([60.0, 70.0, 80.0, 90.0], 2, (3, 3))
WHOLE = pooled({"own": OWN, "other": of([40.0, 45.0, 50.0], 1, (1, 2))})


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("age", {"mean": 5000.0}),  # the others' mean would follow, and their variance be below zero
        ("age", {"variance": 1.0}),
        ("age", {"mean": 1e308, "variance": 1e308}),
        ("age", {"missing": 1}),
        ("age", {"present": 6}),
        ("age", {"histogram": None}),
        ("age", {"histogram": Histogram(edges=EDGES, counts=(3, 3))}),
        ("age", {"histogram": Histogram(edges=EDGES, counts=(4, None))}),
        ("age", {"histogram": Histogram(edges=(0.0, 60.0, 100.0), counts=(3, 5))}),
        ("ward", {"counts": {"a": 2, "b": 5}}),
        ("ward", {"counts": {"a": 4}}),
        ("ward", {"counts": {"a": 4, "b": 500}}),
        ("ward", {"present": 8}),
    ],
)
def test_what_cannot_be_so_is_seen(column: str, values: dict[str, Any]) -> None:
    assert covers(WHOLE, OWN)
    assert not covers(changed(WHOLE, column, **values), OWN)


def test_of_one_site_alone_nothing_else_can_be_said() -> None:
    assert covers(OWN, OWN)
    assert not covers(changed(OWN, "age", mean=76.0), OWN)
    assert not covers(changed(OWN, "age", variance=1000.0), OWN)


def test_a_column_is_not_said_to_be_another_thing() -> None:
    other = {**WHOLE.features, "age": CategorySummary(present=7, missing=3, counts={})}
    assert not covers(WHOLE.model_copy(update={"features": other}), OWN)
    less = {"age": WHOLE.features["age"]}
    assert not covers(WHOLE.model_copy(update={"features": less}), OWN)
    assert not covers(WHOLE.model_copy(update={"records": 5}), OWN)


def job(histogram: bool = True) -> Job:
    dataset: dict[str, Any] = {"name": "stays", "features": ["age", "ward"]}
    if histogram:
        dataset["histograms"] = {"age": {"low": 0, "high": 100, "count": 2}}
    document = {"job": "look", "purpose": "care", "task": "statistics", "dataset": dataset, "federation": {}}
    return Job.model_validate_json(json.dumps(document))


def test_a_description_answers_the_job_that_asks_for_it() -> None:
    assert answers(OWN, job())
    assert not answers(OWN, job(histogram=False))
    assert not answers(changed(OWN, "age", histogram=None), job())
    assert not answers(changed(OWN, "age", histogram=Histogram(edges=(0.0, 50.0), counts=(1,))), job())
    assert not answers(changed(OWN, "ward", missing=1), job())
    assert not answers(OWN.model_copy(update={"features": {"age": OWN.features["age"]}}), job())


@pytest.mark.parametrize("count", [10**6, 10**400])
def test_no_more_is_counted_than_there_are_cells(count: int) -> None:
    """One site's counts beyond its records would make a sum that every other site refuses."""
    assert not answers(changed(OWN, "ward", counts={"a": count, "b": 0}), job())
    assert not answers(changed(OWN, "age", histogram=Histogram(edges=EDGES, counts=(count, 0))), job())


@pytest.mark.parametrize(
    ("edges", "counts"), [((0.0, 1.0), (1, 2)), ((0.0, 1.0, 2.0), (1,)), ((0.0, 0.0), (1,)), ((1.0, 0.0), (1,))]
)
def test_a_histogram_has_a_count_between_neighbouring_edges(edges: tuple[float, ...], counts: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="edges that do not rise"):
        Histogram(edges=edges, counts=counts)


@pytest.mark.parametrize("mean", [1e308, 1e200])
def test_numbers_that_no_sum_holds_are_not_pooled(mean: float) -> None:
    sites = {name: changed(OWN, "age", mean=sign * mean) for name, sign in (("one", 1), ("other", -1))}
    with pytest.raises(ValueError, match="too large"):
        pooled(sites)
