# SPDX-License-Identifier: Apache-2.0
"""What hindered sites, told once for all that were hindered by the same."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NAMED = 3
"""So many sites are named; of more only how many they are."""

# A number by itself; the line behind a file's name, and digits in a name, are what tells one cause from another.
_NUMBER = re.compile(r"(?<![\w.:-])\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w-])")


def grouped(reasons: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Sites and reasons with equal reasons told once, in the order of each reason's first site.

    Reasons of more sites than are named that differ only in their numbers, such as how many records a copy has, count
    as equal: that of the first site is told, and that the numbers are its own.

    Args:
        reasons: a site's name, and what hindered it.

    Returns:
        Whom a reason is of, in words, and the reason.
    """
    known = sorted(set(reasons))
    sites_of: dict[str, set[str]] = {}
    for site, reason in known:
        sites_of.setdefault(_cause(reason), set()).add(site)
    groups: dict[str, dict[str, str]] = {}
    for site, reason in known:
        cause = _cause(reason)
        groups.setdefault(cause if len(sites_of[cause]) > _NAMED else reason, {}).setdefault(site, reason)
    return [(_who(list(sites)), _why(list(sites), list(sites.values()))) for sites in groups.values()]


def _cause(reason: str) -> str:
    return _NUMBER.sub("#", reason)


def _who(sites: list[str]) -> str:
    if len(sites) <= _NAMED:
        return ", ".join(sites)
    return f"{len(sites):,} sites ({', '.join(sites[:_NAMED])}, …)"


def _why(sites: list[str], reasons: list[str]) -> str:
    return reasons[0] if len(set(reasons)) == 1 else f"{reasons[0]} [numbers of {sites[0]}]"
