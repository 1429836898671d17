# SPDX-License-Identifier: Apache-2.0
"""The numbers by which a model is measured: their names, what each can be, and whether more of it is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Metric = Literal[
    "accuracy",
    "auc",
    "c_index",
    "dice",
    "entity_f1",
    "loss",
    "macro_f1",
    "mae",
    "perplexity",
    "personal_accuracy",
    "personal_auc",
    "personal_c_index",
    "personal_dice",
    "personal_entity_f1",
    "personal_loss",
    "personal_macro_f1",
    "personal_mae",
    "personal_perplexity",
    "personal_r2",
    "personal_rmse",
    "personal_token_accuracy",
    "r2",
    "rmse",
    "token_accuracy",
    "train_loss",
]
"""Every name that a policy can grant and a job can choose by."""


@dataclass(frozen=True)
class MetricRange:
    """What a metric can be.

    Attributes:
        least: no measurement lies below.
        most: no measurement lies above. Without bounds one site could claim any number and so decide alone which round
            is best, so those of unbounded metrics are wide and yet there.
        best: which of its values is the best.
    """

    least: float
    most: float
    best: Literal["maximum", "minimum"] = "maximum"


PERSONAL = "personal_"
"""How the name of a metric begins that is measured with the site's own copy of the network (Ditto's)."""

_OF_ANY_NETWORK: Mapping[str, MetricRange] = {
    "accuracy": MetricRange(0.0, 1.0),  # share of right answers
    "auc": MetricRange(0.0, 1.0),  # area under the receiver operating characteristic
    "c_index": MetricRange(0.0, 1.0),  # Harrell's concordance, https://doi.org/10.1001/jama.1982.03320430047030
    "dice": MetricRange(0.0, 1.0),  # mean over classes but the background
    "entity_f1": MetricRange(0.0, 1.0),  # exact spans, micro-averaged
    "loss": MetricRange(0.0, 1e6, "minimum"),  # mean of what is minimised; cross-entropies in nats
    "macro_f1": MetricRange(0.0, 1.0),  # mean of F1 over classes
    "mae": MetricRange(0.0, 1e12, "minimum"),  # mean absolute error, in the target's unit
    "perplexity": MetricRange(1.0, 1e9, "minimum"),  # exp of the mean cross-entropy per token
    "r2": MetricRange(-1e6, 1.0),  # coefficient of determination
    "rmse": MetricRange(0.0, 1e12, "minimum"),  # root of the mean squared error, in the target's unit
    "token_accuracy": MetricRange(0.0, 1.0),  # share of right next tokens
}

METRICS: Mapping[str, MetricRange] = {
    **_OF_ANY_NETWORK,
    **{PERSONAL + name: known for name, known in _OF_ANY_NETWORK.items()},
    "train_loss": MetricRange(0.0, 1e6, "minimum"),  # of a round, on its own training records
}

assert set(METRICS) == set(get_args(Metric))  # noqa: S101 - one list for mypy, one for the program
