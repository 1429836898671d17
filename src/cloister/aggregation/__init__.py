# SPDX-License-Identifier: Apache-2.0
"""How the sites' updates become one: pure functions over arrays, nothing of NVFlare and nothing of files."""

from cloister.aggregation.contribution import BLOCK_VALUES, Contribution, Source
from cloister.aggregation.weighted_mean import WeightedMean, mean_of_metrics

__all__ = ["BLOCK_VALUES", "Contribution", "Source", "WeightedMean", "mean_of_metrics"]
