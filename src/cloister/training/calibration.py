# SPDX-License-Identifier: Apache-2.0
"""A classifier's loss that makes up for how often each class comes at a site, see `Calibration`.

By Bayes' theorem a network that is trained at a site learns log p(x|y) + log q(y) + a constant, where q(y) is how
often class y comes there. Sites that differ in q pull the shared network apart, above all its head. Where log q(y) -
log r(y) is added to its scores while it is trained, and nothing while it is used, it learns log p(x|y) + log r(y)
instead: r(y) is how often the class comes where the network will be used. Sites that differ in q alone then all learn
the same. With r uniform it is the logit-adjusted loss (Menon et al., https://arxiv.org/abs/2007.07314, equation 10,
tau = 1). That each site goes by its own q is from FedLC (Zhang et al., https://arxiv.org/abs/2209.00189), which
subtracts an inverse fourth root of each count instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cloister.jobs.aggregation import Calibration

_ADDED = 0.5
"""To each count: the estimate of Krichevsky and Trofimov (https://doi.org/10.1109/TIT.1981.1056331), never 0."""


def calibrating_scores(
    rule: Calibration, labels: Sequence[str], classes: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """What is added to the scores of a batch while the network is trained.

    Args:
        rule: the job's.
        labels: the classes' names in the order of their numbers.
        classes: number of the class of each training record at the site, shape (n,).

    Returns:
        log q - log r for each class, in nats, shape (number of labels,).
    """
    here = np.bincount(classes, minlength=len(labels)) + _ADDED
    where_used = np.array([rule.share_of(label) for label in labels])
    added: npt.NDArray[np.float32] = np.log(here / here.sum()) - np.log(where_used / where_used.sum())
    return added.astype(np.float32)
