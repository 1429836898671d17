# SPDX-License-Identifier: Apache-2.0
"""Ditto (https://arxiv.org/abs/2012.04221, algorithm 1): a copy of the site's own beside the shared network.

The shared network is trained as ever. The copy takes as many steps, over the same batches, from where it was, with a
pull towards the shared weights as they came; it never leaves. It starts from the first weights that come.
"""

from __future__ import annotations

from collections.abc import Callable

from cloister.training.exchange import Exchange, Tensors
from cloister.training.interface import Report, Round
from cloister.training.loop import Correction
from cloister.training.proximal import Pull, values_of
from cloister.training.site_tensors import copies_of


def train_both(
    exchange: Exchange,
    copy: Tensors | None,
    strength: float,
    run: Callable[[Correction, Report], Round],
    report: Report,
) -> tuple[Round, Tensors]:
    """Train the shared network, which is loaded, and the site's copy; the shared one is loaded at the end.

    Args:
        exchange: of the network.
        copy: as it was; None where there is none yet.
        strength: lambda, of the pull.
        run: one round of training of what is loaded.
        report: told of the steps of both.

    Returns:
        What the round of the shared network came to, and the copy as it is now.
    """
    parameters = list(exchange.parameters().values())
    shared_as_it_came, start = values_of(parameters), copies_of(exchange.save()) if copy is None else copy
    done = run(Correction(), lambda step, steps: report(step, 2 * steps))
    shared = copies_of(exchange.save())
    exchange.load(start)
    pull = Pull(parameters, shared_as_it_came, strength)
    run(pull, lambda step, steps: report(steps + step, 2 * steps))
    trained = copies_of(exchange.save())
    exchange.load(shared)
    return done, trained
