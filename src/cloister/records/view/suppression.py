# SPDX-License-Identifier: Apache-2.0
"""Which counts of a partition may be told, so that none below a minimum can be had by subtraction either.

Primary and secondary cell suppression as in Hundepool et al., Statistical Disclosure Control (2012), chapter 5, for one
partition whose total is told: there the cells that are not told can be added up, and nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence


def told(counts: Sequence[int], minimum_count: int, untold: frozenset[int] = frozenset()) -> list[int | None]:
    """``counts``, with None for those that are not told.

    A count above 0 and below ``minimum_count`` is not told. Nor are so many others, the smallest above 0 first, that
    each of those that are not told could be ``minimum_count`` or more, as far as the total and all that is told say.
    Where that takes more records than there are, nothing is told, not even which counts are 0.

    Args:
        counts: of the cells of a partition; their sum is known to whoever is told.
        minimum_count: the smallest count above 0 that may be told.
        untold: positions of cells that are never told and yet follow where all others are told.

    Returns:
        For each cell its count or None.
    """
    hidden = {index for index, count in enumerate(counts) if 0 < count < minimum_count}
    if not hidden:
        return list(counts)
    spare = [index for index, count in enumerate(counts) if count >= minimum_count]
    # What is never told costs nothing to hide.
    for index in sorted(spare, key=lambda index: (index not in untold, counts[index], index)):
        if _enough(counts, hidden, minimum_count):
            break
        hidden.add(index)
    if not _enough(counts, hidden, minimum_count):
        return [None] * len(counts)
    return [None if index in hidden else count for index, count in enumerate(counts)]


def _enough(counts: Sequence[int], hidden: set[int], minimum_count: int) -> bool:
    """Whether ``hidden`` has two cells or more, and one could hold the minimum where each of the others holds one."""
    return len(hidden) > 1 and sum(counts[index] for index in hidden) - (len(hidden) - 1) >= minimum_count
