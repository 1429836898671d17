# SPDX-License-Identifier: Apache-2.0
"""The descriptions of features in a result, and how their counts are told to people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from cloister.errors import JobError
from cloister.jobs import Task
from cloister.jobs.statistics import CategorySummary, FeatureStatistics, NumberSummary

NOT_TOLD = "not told"
"""What is shown for a count that may not be told: it is below the site's minimum, or such a one would follow."""

Summary = NumberSummary | CategorySummary


@dataclass(frozen=True)
class Described:
    """What the features are like.

    Attributes:
        whole: over all sites.
        by_site: at each site that described them.
    """

    whole: FeatureStatistics
    by_site: Mapping[str, FeatureStatistics]

    def at_sites(self, feature: str) -> dict[str, Summary]:
        """One feature's summary by site."""
        return {site: each.features[feature] for site, each in self.by_site.items() if feature in each.features}


def trains_nothing(result: dict[str, Any]) -> bool:
    """Whether ``result`` is of a job that describes records and has no weights."""
    return bool(result["job"]["task"] == Task.STATISTICS.value)


def described(result: dict[str, Any]) -> Described | None:
    """The descriptions in a result; None where its job asked for none.

    Raises:
        JobError: where the server sent what is no description.
    """
    if not result.get("statistics"):
        return None
    try:
        return Described(
            _read(result["statistics"]),
            {str(site): _read(each) for site, each in sorted((result.get("statistics_by_site") or {}).items())},
        )
    except (ValidationError, ValueError, TypeError, AttributeError) as error:
        raise JobError("the server sent a description of features that cannot be read") from error


def _read(value: Any) -> FeatureStatistics:
    return FeatureStatistics.model_validate_json(json.dumps(value))


def kind_of(summary: Summary) -> str:
    """What a feature is, in a word."""
    return "numbers" if isinstance(summary, NumberSummary) else "categories"


def said_count(count: int | None, at_sites: Iterable[int | None] = ()) -> str:
    """A count as it is shown: with `≥` before it where some site may not tell its share of it."""
    if count is None:
        return NOT_TOLD
    return f"≥ {count:,}" if None in tuple(at_sites) else f"{count:,}"


def number(value: float) -> str:
    """A mean or a deviation, with four digits that count."""
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def nothing_told(summary: Summary) -> bool:
    """Whether all that is told of a feature is that nothing may be told."""
    return summary.present == 0 and summary.missing > 0
