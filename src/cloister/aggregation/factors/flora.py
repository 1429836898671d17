# SPDX-License-Identifier: Apache-2.0
"""The sites' factors stacked, so that their product is the sum of the sites' products, whatever their ranks are.

This is FLoRA (https://arxiv.org/abs/2409.05976, equation 9). Every round begins with factors that are drawn anew beside
base weights into which all former rounds are folded.

| | Consists of |
|---|---|
| fresh factors | A drawn from the job's seed and the round, B zero; they come down as any job's tensors |
| up | a site's update: its trained factors less the fresh ones, in the form of any job's update |
| the round's stack | of each layer [w1 B1, w2 B2, …] and [A1; A2; …], made shorter where nothing is lost by it |
| folded | of each layer the stacks of all rounds, one behind the other |
| down | the round's stack; all that is folded where `Folded.anew` is set and for a site that missed a round; float32 |
| the result | what is folded, an adapter of other rank in each layer, see `patterns` |

A trainer adds s B A of what is folded to a copy of the base model's weights before each round and each measurement,
and trains the fresh factors beside it, with s = alpha / rank of the job, which is the same for all ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cloister.aggregation.factors.decomposition import decomposed, side_by_side
from cloister.aggregation.factors.pairs import Matrix, Trained, in_order, pairs_of
from cloister.jobs.adapter import AdapterLayout, Arrays, initial_adapter

_ROUNDING = 2.0**-24
"""Share of a product's norm below which directions are left out: half a unit in float32's last place."""


@dataclass(frozen=True)
class Folded:
    """All rounds so far.

    Attributes:
        arrays: two factors of each layer, float32, of a rank that differs by layer and is at most its dimensions'.
        anew: whether they were taken apart anew, so that they are not the former ones with the round's stack behind.
    """

    arrays: Arrays
    anew: bool = False


def fresh(layout: AdapterLayout, seed: int, number: int) -> Arrays:
    """The factors that round ``number`` begins with, for a site of ``layout``, which has the site's own rank."""
    names = {name for pair in pairs_of(layout.shapes()) for name in (pair.a, pair.b)}
    factors = replace(layout, tensors=tuple(tensor for tensor in layout.tensors if tensor.name in names), bases=())
    drawn = np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)
    return initial_adapter(factors, int(drawn[0]))


def stacked(trained: Sequence[Trained]) -> Arrays:
    """One round's stack: factors of the weighted sum of the sites' products.

    Args:
        trained: of each site, fresh factors with its update added.

    Raises:
        ValueError: where there is no update, a site comes twice, or a weight is not above 0.
    """
    known, shares = in_order(trained)
    arrays: Arrays = {}
    for pair in pairs_of(known[0].arrays):
        products = [(share, *pair.of(each.arrays)) for share, each in zip(shares, known, strict=True)]
        arrays[pair.b], arrays[pair.a] = _shortest(*side_by_side(products))
    return arrays


def folded(before: Arrays, stack: Arrays) -> Folded:
    """``before`` with one more round's ``stack`` behind it.

    Where a layer's rank would come to more than its dimensions, which no product has, all are taken apart anew.

    Args:
        before: what was folded; empty before the first round.
        stack: as `stacked` returned it.
    """
    if not before:
        return Folded(dict(stack))
    pairs = pairs_of(stack)
    joined: Arrays = {}
    for pair in pairs:
        joined[pair.b] = np.hstack([before[pair.b], stack[pair.b]])
        joined[pair.a] = np.vstack([before[pair.a], stack[pair.a]])
    if all(len(joined[pair.a]) <= min(len(joined[pair.b]), joined[pair.a].shape[1]) for pair in pairs):
        return Folded(joined)
    for pair in pairs:
        joined[pair.b], joined[pair.a] = _shortest(*pair.of(joined))
    return Folded(joined, anew=True)


def check_folded(arrays: Arrays, layout: AdapterLayout) -> None:
    """Check that ``arrays`` can be folded into the layers that ``layout`` has factors for.

    Args:
        arrays: what a site received, a round's stack or all that is folded.
        layout: of the job or the site; its rank is no matter.

    Raises:
        ValueError: where a factor is missing, is no other layer's, is of another shape or type than its layer's, has a
            rank that its layer cannot have, or holds a value that is not finite.
    """
    shapes = layout.shapes()
    pairs = pairs_of(shapes)
    if set(arrays) != {name for pair in pairs for name in (pair.a, pair.b)}:
        raise ValueError("the factors to fold in are not those of the job's layers")
    for pair in pairs:
        b, a = arrays[pair.b], arrays[pair.a]
        output, width = shapes[pair.b][0], shapes[pair.a][1]
        rank = a.shape[0] if a.ndim == 2 else 0
        if a.shape != (rank, width) or b.shape != (output, rank) or not 1 <= rank <= min(output, width):
            raise ValueError(f"the factors to fold into {pair.layer} are not of its shape")
        if not all(each.dtype == np.float32 and np.isfinite(each).all() for each in (a, b)):
            raise ValueError(f"the factors to fold into {pair.layer} are not finite float32")


def most_folded_bytes(layout: AdapterLayout) -> int:
    """Size in bytes that the values of all that is folded can grow to."""
    shapes = layout.shapes()
    sizes = ((shapes[pair.b][0], shapes[pair.a][1]) for pair in pairs_of(shapes))
    return sum(4 * min(output, width) * (output + width) for output, width in sizes)


def patterns(folded_arrays: Arrays, scale: float, *, prefix: str, root: bool = False) -> dict[str, dict[str, float]]:
    """What `peft` must be told of an adapter that is folded: the rank of each layer, and its alpha.

    Args:
        folded_arrays: of `Folded`.
        scale: s, what the product is scaled by.
        prefix: what stands before the layers' names in the base model, and is no part of them there.
        root: whether `peft` divides alpha by the root of the rank, as for rsLoRA.

    Returns:
        `rank_pattern` and `alpha_pattern`, by the layers' names in the base model.
    """
    ranks = {pair.layer.removeprefix(prefix): len(folded_arrays[pair.a]) for pair in pairs_of(folded_arrays)}
    alphas = {layer: scale * (rank**0.5 if root else rank) for layer, rank in ranks.items()}
    return {"rank_pattern": dict(ranks), "alpha_pattern": alphas}


def _shortest(b: Matrix, a: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """Factors of the same product with no direction that float32 would not show, and one at least."""
    product = decomposed(b, a)
    behind = np.sqrt(np.cumsum(np.square(product.values / (product.norm or 1.0))[::-1]))[::-1]
    count = max(1, int(np.count_nonzero(behind > _ROUNDING)))
    # Split alike, so that both fit float32 whenever the sites' own factors did.
    root = np.sqrt(product.values[:count])
    return (product.left[:, :count] * root).astype(np.float32), (root[:, None] * product.right[:count]).astype(
        np.float32
    )
