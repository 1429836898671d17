# SPDX-License-Identifier: Apache-2.0
"""What hindered sites, told once for all that were hindered by the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_NAMED = 3
"""So many sites are named; of more only how many they are."""

# A number by itself; the line behind a file's name, and digits in a name, are what tells one cause from another.
_NUMBER = re.compile(r"(?<![\w.:-])\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w-])")


def grouped(reasons: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Sites and reasons with equal reasons told once, in the order of each reason's first site.

    Reasons that differ only in their numbers, such as how many records a copy has, count as equal: that of the first
    site is told, and that the numbers are its own.

    Args:
        reasons: a site's name, and what hindered it.

    Returns:
        Whom a reason is of, in words, and the reason.
    """
    by_cause: dict[str, dict[str, str]] = {}
    for site, reason in sorted(reasons):
        by_cause.setdefault(_NUMBER.sub("#", reason), {})[site] = reason
    return [(_who(list(sites)), _why(list(sites), list(sites.values()))) for sites in by_cause.values()]


def in_groups(message: str, reasons: Mapping[str, str]) -> str:
    """``message`` with what it says of each site by itself told in groups; see `cloister.flare.quorum`.

    Args:
        message: of an error.
        reasons: by site, what hindered it.
    """
    one_by_one = "; ".join(f"{site}: {reason}" for site, reason in sorted(reasons.items()))
    if not one_by_one:
        return message
    return message.replace(one_by_one, "; ".join(f"{who}: {why}" for who, why in grouped(reasons.items())))


def _who(sites: list[str]) -> str:
    if len(sites) <= _NAMED:
        return ", ".join(sites)
    return f"{len(sites):,} sites ({', '.join(sites[:_NAMED])}, …)"


def _why(sites: list[str], reasons: list[str]) -> str:
    return reasons[0] if len(set(reasons)) == 1 else f"{reasons[0]} [numbers of {sites[0]}]"
