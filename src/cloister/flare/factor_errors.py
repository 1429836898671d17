# SPDX-License-Identifier: Apache-2.0
"""What is told of a round in which the sites' products of factors were summed: figures for people, and no gate."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloister.aggregation.factors import Trained, averaging_error, pairs_of

_log = logging.getLogger(__name__)

# All sites' factors side by side are taken apart for it: 0.4 s of a core for query and value of a BERT-base at 80.
_MOST_RANK = 128


@dataclass(frozen=True)
class FactorErrors:
    """How far a round's factors are from the sum of the sites' products, and how far their mean would have been.

    Attributes:
        averaging: what the mean of the factors would get wrong, as a share of the sum's Frobenius norm; None where
            the sites' ranks together are too high for it to be worth its time.
        cut_off: what the new factors have no room for, as a share of the sum's Frobenius norm in the layer where it is
            largest; 0 where they hold all of it.
    """

    averaging: float | None
    cut_off: float

    def to_json(self) -> dict[str, float | None]:
        """As plain values."""
        return {"averaging_error": self.averaging, "cut_off": self.cut_off}


def factor_errors(trained: Sequence[Trained], cut_off: Mapping[str, float]) -> FactorErrors:
    """What is told of a round.

    Args:
        trained: what each site had after its training.
        cut_off: by layer, see `cloister.aggregation.factors.Combined`; empty where nothing ever is.
    """
    return FactorErrors(_averaging(trained), max(cut_off.values(), default=0.0))


def _averaging(trained: Sequence[Trained]) -> float | None:
    ranks = (sum(len(each.arrays[pair.a]) for each in trained) for pair in pairs_of(trained[0].arrays))
    if max(ranks, default=0) > _MOST_RANK:
        return None
    try:
        return averaging_error(trained)
    except ValueError:  # also numpy's own; a job goes on without
        _log.warning("what averaging factors would get wrong cannot be told", exc_info=True)
        return None
