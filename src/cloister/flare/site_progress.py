# SPDX-License-Identifier: Apache-2.0
"""What the server knows of one site in one job, and what may be told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloister.flare.exchange import Prepared


@dataclass(frozen=True)
class SiteProgress:
    """What the server knows of one site.

    Attributes:
        state: a word for people.
        reason: why, where the state needs a reason.
        denied: whether the reason is that a policy or a gate of the site said no, and not that something is broken.
        prepared: what the site announced.
        metrics: its last ones.
        bytes_received: tensors that came from it, in all rounds.
        rounds: rounds that its update counted in.
        restarts: of its trainer.
        late: answers that came after their round was over.
        socket: bytes that passed the server's socket from it and to it, in all, with everything that travels around
            values; None where nothing counts them.
    """

    state: str = "invited"
    reason: str = ""
    denied: bool = False
    prepared: Prepared | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    bytes_received: int = 0
    rounds: int = 0
    restarts: int = 0
    late: int = 0
    socket: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        prepared = self.prepared
        return {
            "state": self.state,
            "reason": self.reason,
            "denied": self.denied,
            "training": prepared.training if prepared else None,
            "validation": prepared.validation if prepared else None,
            "policy": prepared.policy if prepared else None,
            "view": prepared.view if prepared else None,
            "sandbox": prepared.sandbox if prepared else None,
            "metrics": dict(self.metrics),
            "bytes": self.bytes_received,
            "rounds": self.rounds,
            "restarts": self.restarts,
            "late": self.late,
            "socket": None if self.socket is None else {"received": self.socket[0], "sent": self.socket[1]},
        }
