# SPDX-License-Identifier: Apache-2.0
"""The tags by which a token classifier marks pieces of a text: BIO (Ramshaw and Marcus, https://aclanthology.org/W95-0107)."""

from __future__ import annotations

OUTSIDE = "O"
BEGINS, GOES_ON = "B-", "I-"


def tags_of(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Every tag, in the order of its number: `O`, and for each of ``labels`` `B-` where a piece begins and `I-` within.

    A piece of label number k begins with tag 2 k + 1 and goes on with tag 2 k + 2.
    """
    return (OUTSIDE, *(f"{place}{label}" for label in labels for place in (BEGINS, GOES_ON)))
