# SPDX-License-Identifier: Apache-2.0
"""Which sites are asked in a round, where a job asks some of them in each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def asked_sites(sites: Iterable[str], count: int | None, *, seed: int, number: int) -> list[str]:
    """The sites of round ``number``, sorted by name: drawn without replacement, each with the same probability.

    The ``count`` sites with the smallest SHA-256 of seed, round and name are taken, so that anybody can say afterwards
    who had to be asked, and a site that drops out changes nobody's turn but its successor's.

    Args:
        sites: those that could be asked.
        count: how many are; all where it is None or there are no more.
        seed: the job's.
        number: the round, from 1.
    """
    names = sorted(sites)
    if count is None or count >= len(names):
        return names

    def drawn(site: str) -> bytes:
        return hashlib.sha256(f"{seed}/{number}/{site}".encode()).digest()

    return sorted(sorted(names, key=drawn)[:count])
