# SPDX-License-Identifier: Apache-2.0
"""What is known of a dataset's features: at one site, and pooled over all of them.

A summary holds sums over many records and no record. It holds no smallest and no largest value: those are somebody's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cloister.documents import Model
from cloister.jobs.model import Job
from cloister.names import ColumnName, Line


class Histogram(Model):
    """How many values lie between neighbouring edges.

    Attributes:
        edges: rising, one more than bins; the last bin holds its upper edge.
        counts: by bin; None where there are some and too few to tell.
    """

    edges: tuple[float, ...] = Field(min_length=2, max_length=1001)
    counts: tuple[Annotated[int, Field(ge=0)] | None, ...] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _a_count_between_neighbouring_edges(self) -> Self:
        if len(self.counts) != len(self.edges) - 1 or not all(low < high for low, high in pairwise(self.edges)):
            raise ValueError("has edges that do not rise, or not one more of them than counts")
        return self


class NumberSummary(Model):
    """A column of numbers.

    Attributes:
        present: cells with a number.
        missing: cells without.
        mean: of the numbers; 0 without any.
        variance: mean squared distance from the mean (the population's); 0 without any.
        histogram: where the job asked for one.
    """

    kind: Literal["number"] = "number"
    present: int = Field(ge=0)
    missing: int = Field(ge=0)
    mean: float = 0.0
    variance: float = Field(default=0.0, ge=0)
    histogram: Histogram | None = None


class CategorySummary(Model):
    """A column of categories or truth values (`true`, `false`).

    Attributes:
        present: cells with a value.
        missing: cells without.
        counts: by value; None where there are some and too few to tell.
    """

    kind: Literal["category"] = "category"
    present: int = Field(ge=0)
    missing: int = Field(ge=0)
    counts: dict[Line, Annotated[int, Field(ge=0)] | None]


_FORGIVEN = 1e-6
"""How far sums may be off, as a share."""

Summary = Annotated[NumberSummary | CategorySummary, Field(discriminator="kind")]


class FeatureStatistics(Model):
    """Every feature of a job, described.

    Attributes:
        records: those of the view, to train on and to measure on, that were looked at.
        features: by column.
    """

    records: int = Field(ge=0)
    features: dict[ColumnName, Summary]

    @property
    def smallest_count(self) -> int | None:
        """The smallest count above 0 that is told; None where there is none.

        Of two counts that add up to a third one, telling two is telling three; so `missing` and `present` count too.
        """
        counts = [self.records]
        for summary in self.features.values():
            counts += [summary.present, summary.missing]
            if isinstance(summary, CategorySummary):
                counts += [count for count in summary.counts.values() if count is not None]
            elif summary.histogram is not None:
                counts += [count for count in summary.histogram.counts if count is not None]
        return min((count for count in counts if count > 0), default=None)


def described_columns(job: Job) -> frozenset[str]:
    """What sites describe for ``job``: its features, and the number that it predicts."""
    target = job.dataset.target
    return frozenset(job.dataset.features) | (frozenset() if target is None else {target})


def answers(statistics: FeatureStatistics, job: Job) -> bool:
    """Whether ``statistics`` describes what ``job`` asks for: its columns and bins, each cell of a record once."""
    if frozenset(statistics.features) != described_columns(job):
        return False
    for name, summary in statistics.features.items():
        asked = job.dataset.histograms.get(name)
        bins = summary.histogram if isinstance(summary, NumberSummary) else None
        if (None if bins is None else bins.edges) != (None if asked is None else asked.edges):
            return False
        if summary.present + summary.missing != statistics.records:
            return False
        counts = summary.counts.values() if isinstance(summary, CategorySummary) else bins.counts if bins else ()
        if sum(count for count in counts if count is not None) > summary.present:
            return False
    return True


def pooled(by_site: Mapping[str, FeatureStatistics]) -> FeatureStatistics:
    """One description over all sites: counts are added, means and variances combined.

    The variance of the union follows from counts, means and variances alone (Chan, Golub and LeVeque,
    https://doi.org/10.1007/978-3-642-51461-6_3). The order of sites does not matter to the last digit: sums are exact
    (`math.fsum`).

    Raises:
        ValueError: where sites describe other features, or one as something else, or numbers too large to be added up.
    """
    described = [by_site[site] for site in sorted(by_site)]
    names = {frozenset(each.features) for each in described}
    if len(names) != 1:
        raise ValueError("the sites describe other features")
    features: dict[str, NumberSummary | CategorySummary] = {}
    for name in described[0].features:
        summaries = [each.features[name] for each in described]
        numbers = [summary for summary in summaries if isinstance(summary, NumberSummary)]
        categories = [summary for summary in summaries if isinstance(summary, CategorySummary)]
        if numbers and categories:
            raise ValueError("the sites describe a feature as different things")
        features[name] = _numbers(numbers) if numbers else _categories(categories)
    return FeatureStatistics(records=sum(each.records for each in described), features=features)


def covers(whole: FeatureStatistics, part: FeatureStatistics) -> bool:
    """Whether ``whole`` can be what came of pooling ``part`` with others.

    Of everything there is as much or more, cells add up to records, and what is left when ``part`` is taken away has a
    mean and a variance that numbers can have.
    """
    if whole.features.keys() != part.features.keys() or whole.records < part.records:
        return False
    if any(summary.present + summary.missing != whole.records for summary in whole.features.values()):
        return False
    return all(_covers(whole.features[name], part.features[name]) for name in part.features)


def _covers(whole: NumberSummary | CategorySummary, part: NumberSummary | CategorySummary) -> bool:
    if whole.present < part.present or whole.missing < part.missing:
        return False
    if isinstance(whole, NumberSummary) and isinstance(part, NumberSummary):
        return _covers_bins(whole.histogram, part.histogram) and _covers_numbers(whole, part)
    if isinstance(whole, CategorySummary) and isinstance(part, CategorySummary):
        known = sum(count for count in whole.counts.values() if count is not None)
        told = {value: count for value, count in part.counts.items() if count is not None}
        return known <= whole.present and all((whole.counts.get(value) or 0) >= count for value, count in told.items())
    return False


def _covers_bins(whole: Histogram | None, part: Histogram | None) -> bool:
    if whole is None or part is None:
        return whole is part
    pairs = zip(whole.counts, part.counts, strict=True) if whole.edges == part.edges else ()
    return whole.edges == part.edges and all(count is None or (all_of or 0) >= count for all_of, count in pairs)


def _covers_numbers(whole: NumberSummary, part: NumberSummary) -> bool:
    """Whether the rest can have been: its squared distances from the whole's mean are as many as its own mean asks.

    A little is forgiven, as sums are rounded.
    """
    if not whole.present:
        return not (whole.mean or whole.variance)
    rest = whole.present - part.present
    squares = whole.present * whole.variance
    of_part = part.present * (part.variance + _squared(part.mean - whole.mean))
    apart = whole.present * whole.mean - part.present * part.mean  # the sum of the rest's numbers
    size = max(abs(whole.mean), abs(part.mean), math.sqrt(whole.variance), math.sqrt(part.variance))
    forgiven = _FORGIVEN * whole.present * size
    if not rest:
        return abs(apart) <= forgiven and abs(squares - of_part) <= forgiven * size
    least = _squared(apart - rest * whole.mean) / rest
    return math.isfinite(of_part) and math.isfinite(least) and squares - of_part - least >= -forgiven * size


def _squared(value: float) -> float:
    return value * value  # a power would raise where this is infinite


def _numbers(summaries: Sequence[NumberSummary]) -> NumberSummary:
    present = sum(summary.present for summary in summaries)
    missing = sum(summary.missing for summary in summaries)
    if not present:
        return NumberSummary(present=0, missing=missing, histogram=_histogram(summaries))
    try:
        mean = math.fsum(summary.present * summary.mean for summary in summaries) / present
        squares = math.fsum(
            summary.present * (summary.variance + (summary.mean - mean) ** 2)
            for summary in summaries
            if summary.present
        )
    except (OverflowError, ValueError) as error:
        raise ValueError("the sites describe numbers that are too large to be added up") from error
    return NumberSummary(
        present=present, missing=missing, mean=mean, variance=squares / present, histogram=_histogram(summaries)
    )


def _histogram(summaries: Sequence[NumberSummary]) -> Histogram | None:
    found = [summary.histogram for summary in summaries if summary.histogram is not None]
    if not found:
        return None
    if len(found) < len(summaries) or len({each.edges for each in found}) > 1:
        raise ValueError("the sites describe a feature with other bins")
    return Histogram(edges=found[0].edges, counts=tuple(map(_sum, zip(*(each.counts for each in found), strict=True))))


def _categories(summaries: Sequence[CategorySummary]) -> CategorySummary:
    values = sorted({value for summary in summaries for value in summary.counts})
    return CategorySummary(
        present=sum(summary.present for summary in summaries),
        missing=sum(summary.missing for summary in summaries),
        counts={value: _sum([summary.counts.get(value, 0) for summary in summaries]) for value in values},
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    """The sum of what is told; None where nothing is, though there is something."""
    told = [count for count in counts if count is not None]
    return None if not told or (not any(told) and len(told) < len(counts)) else sum(told)
