# SPDX-License-Identifier: Apache-2.0
"""What `skewed_text.py` compares: by plan which texts and how much is trained, and by method what the job says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

POOLED, UNTRAINED = "pooled", "before training"
_INT4 = {"compression": {"up": "int4", "down": "int4"}}
_CALIBRATED: dict[str, Any] = {"client": {"calibration": {}}}
"""How often each class comes over all sites is put in for each split."""
_NESTEROV = {"server": {"nesterov": {"learning_rate": 1.0, "momentum": 0.5}}}


def _factors(rule: str, codec: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"aggregation": {"factors": rule, **more}, **(codec or {})}


METHODS: dict[str, dict[str, Any]] = {
    POOLED: {},
    "averaging, float32": _factors("fedit"),
    "averaging, int4": _factors("fedit", _INT4),
    "ffa-lora, float32": _factors("ffa-lora"),
    "ffa-lora, int4": _factors("ffa-lora", _INT4),
    "averaging, int4, calibrated": _factors("fedit", _INT4, **_CALIBRATED),
    "ffa-lora, int4, calibrated": _factors("ffa-lora", _INT4, **_CALIBRATED),
    "rolora, int4, calibrated": _factors("rolora", _INT4, **_CALIBRATED),
    "ffa-lora, int4, nesterov": _factors("ffa-lora", _INT4, **_NESTEROV),
    "averaging, int4, nesterov": _factors("fedit", _INT4, **_NESTEROV),
    "fedsvd, float32": _factors("fedsvd"),
    "fedsvd, int4 up": _factors("fedsvd", {"compression": {"up": "int4", "error_feedback": False}}),
    UNTRAINED: {},
    "rolora, int4": _factors("rolora", _INT4),
    "refactored, int4": _factors("refactored", _INT4),
    "averaging, float32, nesterov": _factors("fedit", **_NESTEROV),
    "averaging, int8": _factors("fedit", {"compression": {"up": "int8", "down": "int8"}}),
    "averaging, int4 without error feedback": _factors(
        "fedit", {"compression": {"up": "int4", "down": "int4", "error_feedback": False}}
    ),
    "flora, float32": _factors("flora"),
    "fedprox, float32": _factors("fedit", client={"fedprox": {"mu": 0.1}}),
    "scaffold, float32": _factors("fedit", client={"scaffold": {}}),
    "averaging, float32, adam": _factors("fedit", server={"adam": {"learning_rate": 0.003}}),
}
"""What each says otherwise than the plain job; in the order in which they are run."""


@dataclass(frozen=True)
class Plan:
    """How much is trained, the same for all ways but for pooled training's rates.

    Attributes:
        texts: which.
        rounds: how many.
        steps: of each site in each round.
        batch: records in a step.
        tokens: longer texts are cut.
        rate: of the adapter at the sites.
        head_rate: of the head at the sites.
        pooled_rate: of the adapter in pooled training.
        pooled_head_rate: of the head in pooled training.
        rank: of low-rank adaptation.
        targets: layers that are adapted.
        precision: of arithmetic while training.
        schedule: how all rates fall over the rounds.
    """

    texts: str
    rounds: int
    steps: int
    batch: int
    tokens: int
    rate: float
    head_rate: float
    pooled_rate: float
    pooled_head_rate: float
    rank: int
    targets: Sequence[str]
    precision: str = "float32"
    schedule: str = "constant"

    def changed(self, changes: Mapping[str, Any]) -> Plan:
        """This with ``changes``."""
        return dataclasses.replace(self, **changes)

    def key(self) -> dict[str, Any]:
        """As it stands in a file of results."""
        return {**dataclasses.asdict(self), "targets": list(self.targets)}

    def job(self, labels: Sequence[str], seed: int, *, pooled: bool) -> dict[str, Any]:
        """What the job says."""
        rates = (self.pooled_rate, self.pooled_head_rate) if pooled else (self.rate, self.head_rate)
        return {
            "dataset": {"labels": list(labels), "validation_share": 0.1},
            "method": {"lora": {"rank": self.rank, "alpha": 2 * self.rank, "targets": list(self.targets)}},
            "training": {
                "steps": self.steps,
                "batch_size": self.batch,
                "learning_rate": rates[0],
                "head_learning_rate": rates[1],
                "maximum_tokens": self.tokens,
                "precision": self.precision,
                "schedule": self.schedule,
                "seed": seed,
            },
            "federation": {"rounds": self.rounds},
        }


_LAST_LAYER = ("layer.5.attention.self.query", "layer.5.attention.self.value", "layer.5.output.dense", "pooler.dense")

_ABSTRACTS = Plan(
    texts="abstracts",
    rounds=16,
    steps=20,
    batch=16,
    tokens=64,
    rate=0.001,
    head_rate=0.02,
    pooled_rate=0.0003,
    pooled_head_rate=0.001,
    rank=16,
    targets=_LAST_LAYER,
    precision="bfloat16",
)
PLANS = {
    "abstracts": _ABSTRACTS.changed({"rate": 0.002, "head_rate": 0.005, "schedule": "linear"}),
    "abstracts, rates that do not fall": _ABSTRACTS,
    "abstracts, 80 rounds": _ABSTRACTS.changed({"rounds": 80, "steps": 4}),
    "banking": Plan(
        texts="banking",
        rounds=16,
        steps=100,
        batch=16,
        tokens=32,
        rate=0.001,
        head_rate=0.12,
        pooled_rate=0.0006,
        pooled_head_rate=0.01,
        rank=16,
        targets=_LAST_LAYER,
    ),
}
"""By the name that `--only` takes."""
