# SPDX-License-Identifier: Apache-2.0
"""One round at a site by the job's client rule, see `cloister.jobs.aggregation.ClientRule`."""

from __future__ import annotations

from collections.abc import Callable

from cloister.jobs.aggregation import ClientRule
from cloister.training.control_variates import ControlVariates
from cloister.training.ditto import train_both
from cloister.training.exchange import Exchange
from cloister.training.interface import Report, Round
from cloister.training.loop import Correction
from cloister.training.proximal import Pull, values_of
from cloister.training.site_tensors import SiteTensors

Run = Callable[[Correction, Report], Round]
"""Trains what is loaded for one round, with corrected gradients, and tells of its steps."""


def train_by(rule: ClientRule | None, exchange: Exchange, beside: SiteTensors, run: Run, report: Report) -> Round:
    """Train what is loaded for one round.

    Args:
        rule: the job's; None for plain training.
        exchange: of the network.
        beside: what came with it; what the rule makes of it is put there.
        run: trains.
        report: told of steps.

    Raises:
        TrainerError: where the rule has nothing to work on, or training fails.
    """
    if rule is not None and rule.fedprox is not None:
        parameters = list(exchange.parameters().values())
        return run(Pull(parameters, values_of(parameters), rule.fedprox.mu), report)
    if rule is not None and rule.scaffold is not None:
        variates = ControlVariates(exchange.parameters(), beside.control, beside.own_control)
        done = run(variates, report)
        beside.control, beside.own_control = variates.control(), variates.own()
        return done
    if rule is not None and rule.ditto is not None:
        done, beside.copy = train_both(exchange, beside.copy, rule.ditto.strength, run, report)
        return done
    return run(Correction(), report)
