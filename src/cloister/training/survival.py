# SPDX-License-Identifier: Apache-2.0
"""Survival on columns: Cox's proportional hazards (https://doi.org/10.1111/j.2517-6161.1972.tb00899.x).

The network says one number of each record, its logarithmic hazard beside a baseline that nobody estimates. What is
minimised is the negative partial likelihood, with Efron's correction for events at the same time
(https://doi.org/10.1080/01621459.1977.10480613), over the number of events. A record's risk set are the records of its
own batch: with `batch_size` at least the number of records they are all of the site's, and else a sample of them. They
are never another site's, so each site has a baseline of its own, as strata have.
"""

from __future__ import annotations

import numpy as np
import torch

from cloister.training.metrics import Numbers, c_index
from cloister.training.tabular import TabularTrainer


class SurvivalTrainer(TabularTrainer):
    """Network and records of one job at one site; see `TabularTrainer`."""

    def evaluate(self) -> dict[str, float]:
        """`c_index` and `loss` on the validation records; empty without any event among them."""
        return super().evaluate() if bool((self.validation.targets[:, 1] > 0).any()) else {}

    def loss(self, said: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The negative partial likelihood over the number of events; 0 without any.

        Args:
            said: logarithmic hazards, shape (n, 1).
            targets: time and event, shape (n, 2).

        Returns:
            A scalar that gradients flow through.
        """
        # A few numbers, and cumulative sums are the same each time only on the CPU.
        return negative_partial_likelihood(said[:, 0].cpu(), targets[:, 0].cpu(), targets[:, 1].cpu() > 0)

    def measure(self, said: Numbers) -> dict[str, float | None]:
        """`c_index` on the validation records."""
        targets = self.validation.targets.numpy()
        return {"c_index": c_index(targets[:, 0], targets[:, 1] > 0, np.asarray(said[:, 0], np.float64))}


def negative_partial_likelihood(risks: torch.Tensor, times: torch.Tensor, events: torch.Tensor) -> torch.Tensor:
    """Efron's, over the number of events; 0 where there are none.

    For d events at a time, whose risks sum to D within the risk set's sum R, the l-th of them, from 0, contributes
    log(R - l / d * D) less its own logarithmic risk.

    Args:
        risks: logarithmic hazards, shape (n,).
        times: shape (n,).
        events: whether the event came, bool, shape (n,).
    """
    if not bool(events.any()):
        return 0.0 * risks.sum()
    order = torch.argsort(times, descending=True, stable=True)
    risks, times, events = risks[order], times[order], events[order]
    _, group, sizes = torch.unique_consecutive(times, return_inverse=True, return_counts=True)
    at_risk = torch.logcumsumexp(risks, dim=0)[sizes.cumsum(0) - 1]  # by group: all of its time or later
    risks, group = risks[events], group[events]
    # As shares of the risk set, none of which is above 1: nothing overflows.
    shares = torch.zeros_like(at_risk).index_add(0, group, torch.exp(risks - at_risk[group]))
    deaths = torch.bincount(group, minlength=len(sizes))
    rank = torch.arange(len(group)) - (deaths.cumsum(0) - deaths)[group]
    terms = at_risk[group] + torch.log1p(-(rank / deaths[group]) * shares[group]) - risks
    return terms.sum() / len(terms)
