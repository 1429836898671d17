# SPDX-License-Identifier: Apache-2.0
"""The two policies that count at one site, and the limits that follow from both."""

from __future__ import annotations

from dataclasses import dataclass

from cloister.documents import Document
from cloister.files import canonical_json, sha256_of
from cloister.policies.model import Policy
from cloister.policies.sections import DatasetGrant, FreeText, SandboxDemand
from cloister.policies.terms import Release
from cloister.row_filter import OneOf, RowFilter, all_of, parse

STRICTEST_FIRST: tuple[FreeText, ...] = ("refuse", "mask", "keep")
"""Ways of dealing with free text; of two the one that comes first counts."""


@dataclass(frozen=True)
class Policies:
    """A site's own policy and the baseline under it; of two limits the tighter one counts.

    Attributes:
        site: the site's own.
        baseline: the floor.
    """

    site: Document[Policy]
    baseline: Document[Policy]

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over the canonical JSON of what both documents say, without comments and key order."""
        said = {
            "site": self.site.value.model_dump(mode="json", exclude_unset=True),
            "baseline": self.baseline.value.model_dump(mode="json", exclude_unset=True),
        }
        return sha256_of(canonical_json(said))

    @property
    def sandbox(self) -> SandboxDemand:
        """`unsafe-none` where the site says so and the baseline says so too or nothing; else `required`."""
        unsafe = self.site.value.sandbox == "unsafe-none" and self.baseline.value.sandbox in ("unsafe-none", None)
        return "unsafe-none" if unsafe else "required"

    @property
    def allowed_metrics(self) -> frozenset[str]:
        """Names of the numbers that may leave: those that every stated list holds; none where the site states none."""
        own, floor = self.site.value.may_leave, self.baseline.value.may_leave
        if own is None:
            return frozenset()
        return frozenset(own.metrics) if floor is None else frozenset(own.metrics) & frozenset(floor.metrics)

    def row_filter(self, dataset: str) -> RowFilter | None:
        """What a row of ``dataset`` must meet to enter a view, by both documents; None where by none."""
        conditions: list[RowFilter] = []
        for grant in self._grants(dataset):
            conditions += [OneOf(column, values) for column, values in (grant.rows or {}).items()]
            conditions += [] if grant.filter is None else [parse(grant.filter)]
        return all_of(conditions)

    def free_text(self, dataset: str) -> FreeText:
        """What is done about free text of ``dataset``: the strictest of what both say; `mask` where neither does."""
        said = [grant.free_text for grant in self._grants(dataset) if grant.free_text is not None]
        return min(said, key=STRICTEST_FIRST.index, default="mask")

    @property
    def minimum_count(self) -> int | None:
        """The smallest count that may leave in a description of features; None where none may."""
        own, floor = self.site.value.may_leave, self.baseline.value.may_leave
        if own is None or own.statistics is None or (floor is not None and floor.statistics is None):
            return None
        least = 0 if floor is None or floor.statistics is None else floor.statistics.minimum_count
        return max(own.statistics.minimum_count, least)

    def _grants(self, dataset: str) -> tuple[DatasetGrant, ...]:
        grants = ((policy.value.datasets or {}).get(dataset) for policy in (self.site, self.baseline))
        return tuple(grant for grant in grants if grant is not None)

    @property
    def release_minimum_sites(self) -> int:
        """Sites that must be behind a job's result: the larger stated minimum; 0 where neither states one."""
        return max((section.minimum_sites or 0 for section in self._release), default=0)

    @property
    def release_minimum_records(self) -> int:
        """Records to train on that must be behind a job's result: the larger stated minimum; 0 where there is none."""
        return max((section.minimum_records or 0 for section in self._release), default=0)

    @property
    def _release(self) -> tuple[Release, ...]:
        both = (self.site.value.release, self.baseline.value.release)
        return tuple(section for section in both if section is not None)
