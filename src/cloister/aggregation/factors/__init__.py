# SPDX-License-Identifier: Apache-2.0
"""How the two factors of low-rank adaptation become one pair: what a job says as `aggregation.factors`.

The merged weight is W + s B A, so that what sites learnt together is the sum of their products. `fedit`, `ffa-lora`
and `rolora` combine each factor value by value, as any tensor, which is exact for the latter two since one factor is
the same at all sites; nothing in here is needed for them but `averaging_error`. The others see whole factors, which are
small: no product is ever written out.
"""

from cloister.aggregation.factors.averaging_error import averaging_error
from cloister.aggregation.factors.fedsvd import fedsvd, orthonormal
from cloister.aggregation.factors.flora import Folded, check_folded, folded, fresh, most_folded_bytes, patterns, stacked
from cloister.aggregation.factors.pairs import Combined, Pair, Trained, mean_of, pairs_of, rest_of
from cloister.aggregation.factors.refactored import for_site, lifted, refactored

__all__ = [
    "Combined",
    "Folded",
    "Pair",
    "Trained",
    "averaging_error",
    "check_folded",
    "fedsvd",
    "folded",
    "for_site",
    "fresh",
    "lifted",
    "mean_of",
    "most_folded_bytes",
    "orthonormal",
    "pairs_of",
    "patterns",
    "refactored",
    "rest_of",
    "stacked",
]
