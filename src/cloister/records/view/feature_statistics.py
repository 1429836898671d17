# SPDX-License-Identifier: Apache-2.0
"""What a view's columns are like, told so that no count below a minimum is told or follows from what is told.

1. Fewer records than the minimum are not described at all.
2. Present and missing cells of a column add up to the records, so each of them is 0, or the minimum or more. Where
   fewer cells than the minimum are missing, some that hold something count as missing too, until there are so many;
   they are left out of everything else that is told of the column. So the network is told of missing cells wherever
   there are any, and a mean is one over exactly the cells that are told to be present. Which cells are left out follows
   from the cells alone and not from their order: else whoever has the same records described twice, in another order,
   could tell single cells from the difference.
3. Of a column with fewer present cells than the minimum nothing is told: all of its cells are told to be missing.
4. Counts of a category's values and of a histogram's bins are told as `cloister.records.view.suppression` says. What
   lies outside of a histogram's edges is a cell of it that is never told, and follows where all others are.
5. Mean, variance and number of cells together give away how often each of three different numbers occurs. Of a column
   of numbers with three or fewer of them nothing is told where one occurs in fewer cells than the minimum. Such columns
   are better declared as truth values or categories; so are those of four or five numbers, where mean and variance
   leave few possibilities.

No smallest and no largest value is told. Yet a number that outweighs all others shows in the mean over them: the silo
document's `minimum` and `maximum` keep such numbers out of a view. And each description is judged by itself: whoever is
given two, with bins of other edges or before and after a record came, can subtract one from the other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloister.errors import RecordsError
from cloister.jobs.statistics import CategorySummary, FeatureStatistics, Histogram, NumberSummary
from cloister.records.view.suppression import told
from cloister.silos import ColumnKind

_TRUTH = ("false", "true")
_GIVEN_AWAY = 3  # so many different numbers, by their sum, the sum of their squares, and how many there are


def describe(
    batches: Iterable[pa.RecordBatch],
    columns: Mapping[str, ColumnKind],
    minimum_count: int,
    histograms: Mapping[str, Sequence[float]] | None = None,
    categories: Mapping[str, Sequence[str]] | None = None,
) -> FeatureStatistics:
    """Describe ``columns`` of records that stream by; memory does not grow with their number.

    Args:
        batches: records, with the types of a view.
        columns: their kinds; numbers, integers, truth values and categories alone can be described.
        minimum_count: the smallest count above 0 that may be told, 1 or more.
        histograms: edges of bins by column of numbers, rising.
        categories: the declared values of each category.

    Raises:
        RecordsError: where there are fewer than ``minimum_count`` records, a column is of another kind, a category
            holds a value that is not declared, or numbers are too large to be added up.
    """
    takers = {
        name: _taker(name, kind, minimum_count, (histograms or {}).get(name), (categories or {}).get(name))
        for name, kind in columns.items()
    }
    records = 0
    for batch in batches:
        records += batch.num_rows
        for name, taker in takers.items():
            taker.take(batch.column(name))
    if records < max(1, minimum_count):
        raise RecordsError(
            f"fewer than {max(1, minimum_count)} records are to be described",
            hint="look at `may_leave.statistics.minimum_count` in the site's policy",
        )
    return FeatureStatistics(records=records, features={name: each.summary(records) for name, each in takers.items()})


class _Taker(Protocol):
    def take(self, cells: pa.Array) -> None: ...

    def summary(self, records: int) -> NumberSummary | CategorySummary: ...


def _taker(
    name: str, kind: ColumnKind, minimum_count: int, edges: Sequence[float] | None, values: Sequence[str] | None
) -> _Taker:
    if kind in (ColumnKind.NUMBER, ColumnKind.INTEGER):
        return _Numbers(name, minimum_count, edges)
    if kind is ColumnKind.BOOLEAN:
        return _Categories(name, minimum_count, _TRUTH)
    if kind is ColumnKind.CATEGORY and values is not None:
        return _Categories(name, minimum_count, values)
    raise RecordsError(f"column `{name}` is of kind {kind.value}, which cannot be described as a feature")


def _left_out(minimum_count: int, missing: int) -> int:
    """How many present cells count as missing, so that no smaller count of missing cells is told."""
    return minimum_count - missing if 0 < missing < minimum_count else 0


class _Numbers:
    """Count, mean and squared distances of a column, batch by batch.

    Batches are merged as in Chan, Golub and LeVeque (https://doi.org/10.1007/978-3-642-51461-6_3). Only at the end it
    is known how many cells are to be left out, so one fewer than the minimum are kept aside: those whose `_scrambled`
    numbers are the smallest, in whatever order cells come.
    """

    def __init__(self, name: str, minimum_count: int, edges: Sequence[float] | None) -> None:
        self._name = name
        self._minimum_count = minimum_count
        self._aside: npt.NDArray[np.float64] = np.empty(0)
        self._missing = 0
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0
        self._different: Counter[float] | None = Counter()
        self._edges = None if edges is None else np.array(edges, np.float64)
        self._bins = np.zeros(0 if edges is None else len(edges) - 1, np.int64)

    def take(self, cells: pa.Array) -> None:
        # Beyond 2^53 a whole number is described as the nearest float; otherwise Arrow would refuse it, and quote it.
        floats = pc.drop_null(cells).cast(pa.float64(), safe=False)
        numbers: npt.NDArray[np.float64] = floats.to_numpy(zero_copy_only=False)
        numbers = numbers[np.isfinite(numbers)]
        self._missing += len(cells) - len(numbers)
        together = np.concatenate((self._aside, numbers + 0.0))  # of a negative zero it makes zero
        kept = max(0, self._minimum_count - 1)
        if len(together) > kept:
            together = together[np.argpartition(_scrambled(together), kept)]
        self._aside = together[:kept]
        self._add(together[kept:])

    def _add(self, numbers: npt.NDArray[np.float64]) -> None:
        if not len(numbers):
            return
        count = self._count + len(numbers)
        with np.errstate(over="ignore", invalid="ignore"):  # seen at the end
            mean = float(numbers.mean())
            squares = float(np.square(numbers - mean).sum())
            apart = mean - self._mean
            self._mean += apart * (len(numbers) / count)
            self._squares += squares + apart * apart * (self._count * len(numbers) / count)
        self._count = count
        if self._different is not None:
            values, counts = np.unique(numbers, return_counts=True)
            if len(values) <= _GIVEN_AWAY:
                self._different.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
            if len(values) > _GIVEN_AWAY or len(self._different) > _GIVEN_AWAY:
                self._different = None
        if self._edges is not None:
            self._bins += np.histogram(numbers, self._edges)[0]

    def summary(self, records: int) -> NumberSummary:
        aside = self._aside[np.argsort(_scrambled(self._aside))]
        self._add(aside[_left_out(self._minimum_count, self._missing) :])
        few = self._different is not None and min(self._different.values(), default=0) < self._minimum_count
        if not self._count or self._count < self._minimum_count or few:
            return NumberSummary(present=0, missing=records, histogram=self._histogram(tell=False))
        variance = self._squares / self._count
        if not (math.isfinite(self._mean) and math.isfinite(variance)):
            hint = "declare a `minimum` and a `maximum` in the silo document"
            raise RecordsError(f"column `{self._name}` holds numbers that are too large to be described", hint=hint)
        return NumberSummary(
            present=self._count,
            missing=records - self._count,
            mean=self._mean,
            variance=variance,
            histogram=self._histogram(tell=True),
        )

    def _histogram(self, *, tell: bool) -> Histogram | None:
        if self._edges is None:
            return None
        bins = [int(count) for count in self._bins]
        if tell:
            outside = self._count - sum(bins)
            counts = told([*bins, outside], self._minimum_count, frozenset({len(bins)}))[:-1]
        else:
            counts = [None] * len(bins)
        return Histogram(edges=tuple(self._edges.tolist()), counts=tuple(counts))


def _scrambled(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    """For each number another one that says nothing of its size, and is the same only for the same number.

    The last step of SplitMix64 (https://doi.org/10.1145/2660193.2660195), which is a bijection.
    """
    bits = np.ascontiguousarray(numbers).view(np.uint64)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


class _Categories:
    """How often each declared value occurs in a column."""

    def __init__(self, name: str, minimum_count: int, values: Sequence[str]) -> None:
        self._name = name
        self._minimum_count = minimum_count
        self._counts = dict.fromkeys(values, 0)
        self._missing = 0

    def take(self, cells: pa.Array) -> None:
        texts = pc.drop_null(cells).cast(pa.string())
        self._missing += len(cells) - len(texts)
        for found in pc.value_counts(texts):
            value = found["values"].as_py()
            if value not in self._counts:
                raise RecordsError(f"column `{self._name}` holds a value that the silo document does not declare")
            self._counts[value] += found["counts"].as_py()

    def summary(self, records: int) -> CategorySummary:
        counts = self._without(_left_out(self._minimum_count, self._missing))
        present = sum(counts.values())
        if not present or present < self._minimum_count:
            return CategorySummary(present=0, missing=records, counts=dict.fromkeys(counts))
        shown = told(list(counts.values()), self._minimum_count)
        return CategorySummary(present=present, missing=records - present, counts=dict(zip(counts, shown, strict=True)))

    def _without(self, left_out: int) -> dict[str, int]:
        """The counts, less so many cells of those values that occur most often."""
        counts = dict(self._counts)
        for value in sorted(counts, key=lambda value: (-counts[value], value)):
            taken = min(left_out, counts[value])
            counts[value] -= taken
            left_out -= taken
        return counts
