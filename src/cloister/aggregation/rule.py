# SPDX-License-Identifier: Apache-2.0
"""The interface of every rule by which updates become one.

A rule is given a round's updates in any order and works in that of the sites' names, so that who came first does not
show in a single bit of the result. It reads them block by block, as often as it needs, and gives the combined update
block by block. It keeps nothing from one round to the next.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

from cloister.aggregation.contribution import Contribution
from cloister.errors import JobError
from cloister.vectors import Vector


class Rule(ABC):
    """How updates become one.

    Attributes:
        name: as job documents name it.
        bad_sites: how many sites may send anything, in collusion and knowing all other updates, while the result stays
            near those of the good ones; 0 where nobody asked for that.
    """

    name: ClassVar[str]
    bad_sites: int = 0

    @abstractmethod
    def needed(self, bad_sites: int) -> int | None:
        """The smallest number of updates among which so many bad ones are borne; None where no number is enough."""

    @abstractmethod
    def blocks(self, contributions: Sequence[Contribution]) -> Iterator[Vector]:
        """As `combine`, for contributions that are sorted by site, enough and of one size."""

    def combine(self, contributions: Sequence[Contribution]) -> Iterator[Vector]:
        """The combined update, block by block, float32, finite.

        Args:
            contributions: at most one for each site, in any order.

        Raises:
            JobError: where they are too few for the rule, or of different sizes.
            ValueError: where a weight is not a finite number above 0, or a site stands there twice.
        """
        self.check_number(len(contributions))
        for each in contributions:
            if not (each.weight > 0 and math.isfinite(each.weight)):
                raise ValueError("an update's weight must be a finite number above 0")
        if len({each.site for each in contributions}) < len(contributions):
            raise ValueError("a site contributes once to a round")
        first = contributions[0]
        for each in contributions:
            if each.update.size != first.update.size:
                sizes = f"`{first.site}` {first.update.size} values, that of `{each.site}` {each.update.size}"
                raise JobError(f"updates of one round differ in size: that of {sizes}")
        return self.blocks(sorted(contributions, key=lambda each: each.site))

    def check_number(self, updates: int) -> None:
        """Refuse a number of updates that is too small.

        Raises:
            JobError: in that case.
        """
        needed = self.needed(self.bad_sites)
        if needed is None:
            raise JobError(f"{self.name} bears no bad site, however many updates there are")
        if updates < needed:
            bears = f" of which {self.bad_sites} may be bad" if self.bad_sites else ""
            raise JobError(
                f"the rule `{self.name}` needs {needed} updates{bears}, and there are {updates}",
                hint="ask more sites, or choose a rule that needs fewer",
            )
