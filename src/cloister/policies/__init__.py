# SPDX-License-Identifier: Apache-2.0
"""What a site allows (`policies/*.yaml`), and the one function that decides by it."""

from cloister.policies.decide import decide
from cloister.policies.decision import Decision, Effect, Outcome
from cloister.policies.model import (
    BASELINE,
    Aggregation,
    BaseModelGrant,
    DatasetGrant,
    LoraGrant,
    MayLeave,
    Methods,
    Metric,
    Policy,
    SandboxMode,
    Submitters,
    TrainingLimits,
)
from cloister.policies.pair import Policies
from cloister.policies.request import Request, Submitter
from cloister.policies.rules import RULES

__all__ = [
    "BASELINE",
    "RULES",
    "Aggregation",
    "BaseModelGrant",
    "DatasetGrant",
    "Decision",
    "Effect",
    "LoraGrant",
    "MayLeave",
    "Methods",
    "Metric",
    "Outcome",
    "Policies",
    "Policy",
    "Request",
    "SandboxMode",
    "Submitter",
    "Submitters",
    "TrainingLimits",
    "decide",
]
