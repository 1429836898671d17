# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloister.errors import RecordsError
from cloister.jobs.statistics import CategorySummary, FeatureStatistics, NumberSummary, pooled
from cloister.records.view.feature_statistics import describe
from cloister.silos import ColumnKind

KINDS = {
    "age": ColumnKind.NUMBER,
    "visits": ColumnKind.INTEGER,
    "smoker": ColumnKind.BOOLEAN,
    "ward": ColumnKind.CATEGORY,
}
TYPES = {"age": pa.float64(), "visits": pa.int64(), "smoker": pa.bool_(), "ward": pa.string()}
WARDS = ("a", "b", "c")


def table(**columns: Sequence[Any]) -> pa.Table:
    return pa.table({name: pa.array(cells, TYPES[name]) for name, cells in columns.items()})


def described(
    records: pa.Table, minimum: int, *, rows: int = 4, edges: Sequence[float] | None = None
) -> FeatureStatistics:
    return describe(
        records.to_batches(max_chunksize=rows),
        {name: KINDS[name] for name in records.column_names},
        minimum,
        histograms={"age": edges} if edges is not None else {},
        categories={"ward": WARDS},
    )


def number(records: pa.Table, minimum: int, **more: Any) -> NumberSummary:
    summary = described(records, minimum, **more).features[records.column_names[0]]
    assert isinstance(summary, NumberSummary)
    return summary


def category(records: pa.Table, minimum: int) -> CategorySummary:
    summary = described(records, minimum).features[records.column_names[0]]
    assert isinstance(summary, CategorySummary)
    return summary


def test_numbers_and_categories_where_nothing_is_small() -> None:
    records = table(
        age=[1.0, 2.0, 4.0, 5.0], smoker=[True, False, True, True], ward=["a", "a", "c", "c"], visits=[7] * 4
    )
    assert described(records, 1) == FeatureStatistics(
        records=4,
        features={
            "age": NumberSummary(present=4, missing=0, mean=3.0, variance=2.5),
            "smoker": CategorySummary(present=4, missing=0, counts={"false": 1, "true": 3}),
            "ward": CategorySummary(present=4, missing=0, counts={"a": 2, "b": 0, "c": 2}),
            "visits": NumberSummary(present=4, missing=0, mean=7.0, variance=0.0),
        },
    )


def test_few_missing_cells_are_told_as_the_minimum() -> None:
    cells = [None, *range(1, 30)]
    summary = number(table(visits=cells), 10)
    assert (summary.present, summary.missing) == (20, 10)
    # Nine that hold something are left out of everything: these, whatever order they come in.
    left_out = {1, 2, 7, 8, 12, 14, 16, 17, 29}
    kept = [cell for cell in range(1, 30) if cell not in left_out]
    assert summary.mean == pytest.approx(np.mean(kept))
    assert summary.variance == pytest.approx(np.var(kept))
    # Of values those that occur most often.
    wards = category(table(ward=[None, *"a" * 17, *"b" * 19]), 10)
    assert (wards.present, wards.missing, wards.counts) == (27, 10, {"a": 17, "b": 10, "c": 0})


def test_of_few_present_cells_nothing_is_told() -> None:
    few = [None] * 30 + [1.5, 2.5, 3.5, 4.5]
    assert number(table(age=few), 10) == NumberSummary(present=0, missing=34)
    assert category(table(ward=[None] * 30 + ["a"] * 4), 10).counts == {"a": None, "b": None, "c": None}
    # Neither where so few are left once missing cells are told as more.
    assert number(table(age=[None, *range(18)]), 10) == NumberSummary(present=0, missing=19)


@pytest.mark.parametrize(
    ("cells", "is_told"), [([0] * 40 + [1] * 3, False), ([0] * 40 + [1] * 10, True), ([1] * 43, True)]
)
def test_a_mean_that_is_a_small_count_is_not_told(cells: list[int], is_told: bool) -> None:
    summary = number(table(visits=cells), 10)
    assert bool(summary.present) == is_told
    assert summary.present + summary.missing == len(cells)


def test_three_numbers_give_each_other_away_and_four_do_not() -> None:
    assert number(table(visits=[0] * 40 + [1] * 40 + [2] * 3), 10).present == 0
    assert number(table(visits=[0] * 40 + [1] * 40 + [2] * 3 + [3] * 3), 10).present == 86


def test_a_histogram_hides_small_bins_and_what_lies_outside() -> None:
    cells = [0.5] * 20 + [1.5] * 30 + [2.5] * 3 + [3.0] * 12
    shown = number(table(age=cells), 10, edges=[0, 1, 2, 3]).histogram
    assert shown is not None
    assert shown.counts == (20, 30, 15)  # the last bin holds its upper edge
    outside = number(table(age=[*cells, 9.0]), 10, edges=[0, 1, 2, 3]).histogram
    assert outside is not None
    assert outside.counts == (20, 30, None)  # else the one outside would follow
    hidden = number(table(age=cells), 10, edges=[0, 1, 2, 2.9]).histogram
    assert hidden is not None
    assert hidden.counts == (20, 30, None)


def test_too_few_records_are_not_described() -> None:
    with pytest.raises(RecordsError, match="fewer than 10 records"):
        described(table(age=[1.0] * 9), 10)
    with pytest.raises(RecordsError, match="fewer than 1 records"):
        described(table(age=[]), 0)


def test_refuses_what_cannot_be_described_without_quoting_it() -> None:
    with pytest.raises(
        RecordsError, match="column `ward` holds a value that the silo document does not declare"
    ) as told:
        described(table(ward=["a", "secret"]), 1)
    assert "secret" not in str(told.value)
    with pytest.raises(RecordsError, match="column `age` holds numbers that are too large"):
        described(table(age=[1e308, -1e308, 0.0, 3.0]), 1)
    with pytest.raises(RecordsError, match="column `note` is of kind text"):
        describe([], {"note": ColumnKind.TEXT}, 1)


def test_whole_numbers_beyond_those_of_a_float_are_described_and_not_quoted() -> None:
    cells = [2**60 + step for step in range(20)]
    assert number(table(visits=cells), 10).mean == pytest.approx(2**60)


NUMBERS = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=60)
SMALL = st.lists(st.sampled_from([None, 0, 1, 2]), min_size=1, max_size=60)
CHOICES = st.lists(st.sampled_from([None, *WARDS]), min_size=1, max_size=60)


@given(NUMBERS, st.integers(1, 20))
def test_mean_and_variance_agree_with_numpys_over_any_batches(cells: list[float | None], rows: int) -> None:
    summary = number(table(age=cells), 1, rows=rows)
    present = np.array([cell for cell in cells if cell is not None])
    assert (summary.present, summary.missing) == (len(present), len(cells) - len(present))
    if len(present):
        assert summary.mean == pytest.approx(present.mean(), rel=1e-9, abs=1e-9 * abs(present).max())
        assert summary.variance == pytest.approx(present.var(), rel=1e-7, abs=1e-9 * abs(present).max() ** 2)


@settings(max_examples=200)
@given(NUMBERS, CHOICES, st.integers(2, 12), st.integers(1, 20), st.randoms())
def test_the_order_of_records_tells_nothing(
    ages: list[float | None], wards: list[str | None], minimum: int, rows: int, random: Random
) -> None:
    """Else the same records described twice, split in two ways, would differ by single cells."""
    records = list(zip(ages, wards, strict=False))
    if len(records) < minimum:
        return
    edges = [-1e6, 0.0, 10.0, 1e6]
    one = described(table(age=[a for a, _ in records], ward=[w for _, w in records]), minimum, edges=edges)
    random.shuffle(records)
    two = described(table(age=[a for a, _ in records], ward=[w for _, w in records]), minimum, rows=rows, edges=edges)
    assert one.features["ward"] == two.features["ward"]
    before, after = one.features["age"], two.features["age"]
    assert isinstance(before, NumberSummary)
    assert isinstance(after, NumberSummary)
    assert (before.present, before.missing, before.histogram) == (after.present, after.missing, after.histogram)
    scale = max((abs(age) for age, _ in records if age is not None), default=0.0)
    assert before.mean == pytest.approx(after.mean, abs=1e-12 * scale)
    assert before.variance == pytest.approx(after.variance, abs=1e-12 * scale**2)


def test_is_stable_far_from_zero() -> None:
    cells = 1e9 + np.arange(1000) % 7
    assert number(table(age=cells.tolist()), 1, rows=10).variance == pytest.approx(
        np.var(np.arange(1000) % 7), rel=1e-9
    )


@settings(max_examples=200)
@given(NUMBERS, SMALL, CHOICES, st.integers(2, 12), st.integers(1, 20))
def test_nothing_small_is_told_nor_follows(
    ages: list[float | None], visits: list[int | None], wards: list[str | None], minimum: int, rows: int
) -> None:
    length = min(len(ages), len(visits), len(wards))
    records = table(age=ages[:length], visits=visits[:length], ward=wards[:length])
    edges = [-1e6, -10.0, 0.0, 10.0, 1e5]
    try:
        said = described(records, minimum, rows=rows, edges=edges)
    except RecordsError:
        assert length < minimum
        return
    assert said.records == length
    assert said.smallest_count is None or said.smallest_count >= minimum
    for name, summary in said.features.items():
        cells = records[name].to_pylist()
        missing = cells.count(None)
        assert summary.present + summary.missing == length
        assert {summary.present, summary.missing} <= {0, *range(minimum, length + 1)}
        assert bool(summary.missing) >= bool(missing)
        assert summary.present <= length - missing
    _check_numbers(said.features["visits"], visits[:length], minimum)
    histogram, wards_said = said.features["age"].histogram, said.features["ward"]  # type: ignore[union-attr]
    assert isinstance(wards_said, CategorySummary)
    _check_partition([*wards_said.counts.values()], wards_said.present, minimum, rest=0)
    _check_partition([*histogram.counts], said.features["age"].present, minimum, rest=1)


def _check_numbers(summary: NumberSummary | CategorySummary, cells: Sequence[int | None], minimum: int) -> None:
    """Solve for the counts of 0, 1 and 2 as whoever is told could; none is small."""
    assert isinstance(summary, NumberSummary)
    if summary.present:
        first = summary.mean * summary.present
        second = (summary.variance + summary.mean**2) * summary.present
        twos = (second - first) / 2
        ones = first - 2 * twos
        found = [round(count) for count in (summary.present - ones - twos, ones, twos)]
        assert all(count == 0 or count >= minimum for count in found)
        assert all(count <= Counter(cells)[value] for value, count in enumerate(found))


def _check_partition(counts: list[int | None], total: int, minimum: int, *, rest: int) -> None:
    """What is hidden, and ``rest`` cells that are never told, are together none, or could be many."""
    assert all(count is None or count == 0 or count >= minimum for count in counts)
    left = total - sum(count for count in counts if count is not None)
    if None in counts:
        hidden = counts.count(None)
        assert total == 0 or (left >= minimum and hidden + rest > 1)
    else:
        assert left == 0 or left >= minimum


@given(st.lists(NUMBERS, min_size=2, max_size=4))
def test_pooled_over_sites_is_as_described_together(sites: list[list[float | None]]) -> None:
    apart = pooled({f"s{number}": described(table(age=cells), 1) for number, cells in enumerate(sites)})
    together = described(table(age=[cell for cells in sites for cell in cells]), 1)
    one, other = apart.features["age"], together.features["age"]
    assert isinstance(one, NumberSummary)
    assert isinstance(other, NumberSummary)
    scale = max((abs(cell) for cells in sites for cell in cells if cell is not None), default=0.0)
    assert (one.present, one.missing) == (other.present, other.missing)
    assert one.mean == pytest.approx(other.mean, abs=1e-9 * scale)
    assert one.variance == pytest.approx(other.variance, abs=1e-9 * scale**2)


def test_memory_does_not_grow_with_the_number_of_records() -> None:
    def batches(count: int) -> Iterator[pa.RecordBatch]:
        random = np.random.default_rng(0)
        for _ in range(count):
            yield pa.RecordBatch.from_pydict(
                {"age": random.normal(size=2000), "ward": pa.array(random.choice(WARDS, 2000))}
            )

    peaks = []
    for count in (5, 100):
        tracemalloc.start()
        describe(batches(count), {"age": KINDS["age"], "ward": KINDS["ward"]}, 10, categories={"ward": WARDS})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
