# SPDX-License-Identifier: Apache-2.0
"""Every rule, in the order in which people read the outcomes; a rule that is not in this list does not exist."""

from cloister.policies.check import Rule
from cloister.policies.rules import (
    base_model,
    columns,
    dataset,
    method,
    purpose,
    records,
    selection_metric,
    silo,
    sites,
    submitter,
    training,
    validity,
)

RULES: tuple[Rule, ...] = (
    validity.RULE,
    silo.RULE,
    submitter.RULE,
    purpose.RULE,
    dataset.RULE,
    columns.RULE,
    records.RULE,
    base_model.RULE,
    method.RULE,
    training.RULE,
    sites.RULE,
    selection_metric.RULE,
)

__all__ = ["RULES"]
