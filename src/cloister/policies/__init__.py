# SPDX-License-Identifier: Apache-2.0
"""What a site allows (`policies/*.yaml`), and the one function that decides by it."""

from cloister.policies.check import Rule
from cloister.policies.decide import decide
from cloister.policies.decision import Decision, Effect, Outcome
from cloister.policies.model import BASELINE, LANGUAGE, Policy
from cloister.policies.pair import Policies
from cloister.policies.rank import rank_at
from cloister.policies.request import Leaving, Request, Submitter, ViewFacts
from cloister.policies.rules import RULES

__all__ = [
    "BASELINE",
    "LANGUAGE",
    "RULES",
    "Decision",
    "Effect",
    "Leaving",
    "Outcome",
    "Policies",
    "Policy",
    "Request",
    "Rule",
    "Submitter",
    "ViewFacts",
    "decide",
    "rank_at",
]
