# SPDX-License-Identifier: Apache-2.0
"""How the sites' updates become one: pure functions over arrays, nothing of NVFlare."""

from cloister.aggregation.contribution import Contribution
from cloister.aggregation.metrics import mean_of_metrics, median_of_metrics
from cloister.aggregation.rule import Rule
from cloister.aggregation.rules import optimiser_of, rule_of
from cloister.aggregation.server_optimiser import ServerOptimiser

__all__ = [
    "Contribution",
    "Rule",
    "ServerOptimiser",
    "mean_of_metrics",
    "median_of_metrics",
    "optimiser_of",
    "rule_of",
]
