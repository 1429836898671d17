# SPDX-License-Identifier: Apache-2.0
"""From what a job says under `aggregation` to the rule and the server optimiser."""

from __future__ import annotations

from pathlib import Path

from cloister.aggregation.adaptive import Adagrad, Adam, Yogi
from cloister.aggregation.geometric_median import GeometricMedian
from cloister.aggregation.krum import Krum
from cloister.aggregation.mean import Mean
from cloister.aggregation.median import Median
from cloister.aggregation.mixing import Mixing
from cloister.aggregation.multi_krum import MultiKrum
from cloister.aggregation.nesterov import Nesterov
from cloister.aggregation.norm_bounding import NormBounding
from cloister.aggregation.optimiser_state import FileState
from cloister.aggregation.rule import Rule
from cloister.aggregation.server_optimiser import Added, ServerOptimiser
from cloister.aggregation.share_rule import ShareRule
from cloister.aggregation.trimmed_mean import TrimmedMean
from cloister.aggregation.value_rule import ValueRule
from cloister.jobs.aggregation import Aggregation
from cloister.jobs.aggregation import Rule as AskedRule


def rule_of(aggregation: Aggregation) -> Rule:
    """The rule that a job asks for, behind mixing where it says so, and that behind its bound on norms.

    Raises:
        ValueError: where mixing stands before a rule that bears no bad site.
    """
    rule = _rule(aggregation.rule)
    if aggregation.mixing is not None:
        if not isinstance(rule, ShareRule | ValueRule):
            raise ValueError("updates are mixed in front of rules that bear bad sites alone")
        rule = Mixing(rule, aggregation.mixing.bad_sites)
    return rule if aggregation.maximum_norm is None else NormBounding(rule, aggregation.maximum_norm)


def optimiser_of(aggregation: Aggregation, folder: Path) -> ServerOptimiser:
    """The server optimiser that a job asks for; without one, updates are added as they are.

    Args:
        aggregation: the job's section.
        folder: for its state; what lies there of this job's earlier rounds is taken up.
    """
    state, server = FileState(folder), aggregation.server
    if server is None:
        return Added(state)
    if server.nesterov:
        return Nesterov(state, learning_rate=server.nesterov.learning_rate, momentum=server.nesterov.momentum)
    if server.adagrad:
        return Adagrad(state, learning_rate=server.adagrad.learning_rate, floor=server.adagrad.floor)
    for asked, kind in ((server.adam, Adam), (server.yogi, Yogi)):
        if asked:
            rates = {"beta1": asked.beta1, "beta2": asked.beta2}
            return kind(state, learning_rate=asked.learning_rate, floor=asked.floor, **rates)
    raise ValueError("a server optimiser names exactly one kind")


def _rule(asked: AskedRule) -> Rule:
    if asked.trimmed_mean:
        return TrimmedMean(asked.trimmed_mean.bad_sites)
    if asked.krum:
        return Krum(asked.krum.bad_sites)
    if asked.multi_krum:
        return MultiKrum(asked.multi_krum.bad_sites)
    if asked.median:
        return Median()
    return GeometricMedian() if asked.geometric_median else Mean()
