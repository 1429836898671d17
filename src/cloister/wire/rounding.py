# SPDX-License-Identifier: Apache-2.0
"""The chance that rounds values: told by what is rounded, so that the same job rounds alike each time it is run."""

from __future__ import annotations

import hashlib
from typing import Literal

from numpy.random import Generator, Philox

from cloister.files import canonical_json

Direction = Literal["up", "down"]
"""From a site to the server, or back."""

_COUNTER_BITS = 192  # of the 256: a block draws fewer than 2^192 numbers, so that blocks never share one


def rounding_seed(job: str, site: str, number: int, direction: Direction) -> int:
    """128 bits that differ by everything that is given: were two sites to round alike, their errors would add up.

    The first 16 bytes, little-endian, of the SHA-256 of the canonical JSON of the list of all four. It is no secret:
    rounding hides nothing.

    Args:
        job: its identifier.
        site: whose update it is, or that of the server where it goes down.
        number: the round, from 1.
        direction: which way it goes.
    """
    content = canonical_json([job, site, number, direction])
    return int.from_bytes(hashlib.sha256(content).digest()[:16], "little")


def generator(seed: int, block: int) -> Generator:
    """What decides over block ``block``: Philox-4x64 with ``seed`` as its key (https://doi.org/10.1145/2063384.2063405)."""
    return Generator(Philox(key=seed, counter=block << _COUNTER_BITS))
