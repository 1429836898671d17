# SPDX-License-Identifier: Apache-2.0
"""The gate that everything passes which leaves a site in a job: form first, then the policies."""

from __future__ import annotations

from collections.abc import Mapping

from cloister import egress
from cloister.egress import Release
from cloister.flare.site_exchange import Learnt, SiteExchange
from cloister.flare.site_gates import SiteGates
from cloister.jobs.statistics import FeatureStatistics
from cloister.policies import Leaving


class EgressGate:
    """The egress gate of one job at this site.

    Args:
        gates: asks the policies.

    Attributes:
        sent: bytes that have left in this job.
        norm: of the update that passed last.
    """

    def __init__(self, gates: SiteGates) -> None:
        self._gates = gates
        self.sent = 0
        self.norm: float | None = None

    def describe(self, described: FeatureStatistics) -> None:
        """Let a description of features out.

        Raises:
            CloisterError: where it may not leave.
        """
        size = len(described.model_dump_json().encode())
        self._gates.decide(Leaving(size, self.sent, None, {}, (), smallest_count=described.smallest_count))
        self.sent += size

    def release(
        self,
        exchange: SiteExchange,
        metrics: Mapping[str, float],
        learnt: Learnt | None,
        records: int | None,
        number: int,
    ) -> Release:
        """Let out what is left: what the job's tensors and metrics can be, and the policies let out.

        Args:
            exchange: the job's tensors; it is told where nothing left.
            metrics: what the trainer measured.
            learnt: what it learnt; None where it only measured.
            records: that it trained on; None where it only measured.
            number: of the round.

        Raises:
            CloisterError: where it may not leave.
        """
        allowed = self._gates.policies.allowed_metrics
        try:
            if learnt is None:
                released = egress.release_metrics(allowed, metrics)
            else:
                seed = exchange.seed(number)
                update, encoder, path = learnt.update, exchange.encoder, exchange.outgoing(number)
                released = egress.release(learnt.live, allowed, metrics, update, encoder, seed=seed, path=path)
            size, norm = released.bytes, released.norm
            self._gates.decide(Leaving(size, self.sent, norm, released.metrics, released.parts, records))
        except BaseException:
            exchange.stayed()
            raise
        self.sent += released.bytes
        self.norm = released.norm
        return released
