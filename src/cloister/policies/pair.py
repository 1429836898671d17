# SPDX-License-Identifier: Apache-2.0
"""The two policies that count at one site, and the limits that follow from both."""

from __future__ import annotations

from dataclasses import dataclass

from cloister.documents import Document
from cloister.files import canonical_json, sha256_of
from cloister.policies.model import Policy, SandboxMode


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
    def sandbox(self) -> SandboxMode:
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

    @property
    def maximum_bytes_per_round(self) -> int:
        """Bytes that may leave in one round: the smaller stated limit; 0 where the site states none."""
        own, floor = self.site.value.may_leave, self.baseline.value.may_leave
        if own is None:
            return 0
        limits = [section.maximum_bytes_per_round for section in (own, floor) if section is not None]
        return min(limits)
