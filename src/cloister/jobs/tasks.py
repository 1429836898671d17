# SPDX-License-Identifier: Apache-2.0
"""What can be learnt, and which columns each task reads: the one table that model, policy, view and trainer go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cloister.silos import FEATURE_KINDS, ColumnKind


class Task(StrEnum):
    """What a job does."""

    TEXT_CLASSIFICATION = "text-classification"
    TOKEN_CLASSIFICATION = "token-classification"  # noqa: S105 - a task, no secret
    CAUSAL_LANGUAGE_MODELLING = "causal-language-modelling"
    TABULAR_CLASSIFICATION = "tabular-classification"
    TABULAR_REGRESSION = "tabular-regression"
    SURVIVAL = "survival"
    IMAGE_CLASSIFICATION = "image-classification"
    IMAGE_SEGMENTATION = "image-segmentation"
    STATISTICS = "statistics"


_TEXT, _LABEL = frozenset({ColumnKind.TEXT}), frozenset({ColumnKind.CATEGORY})
_NUMBER = frozenset({ColumnKind.NUMBER, ColumnKind.INTEGER})
_IMAGE = frozenset({ColumnKind.IMAGE})

ROLE_KINDS: Mapping[str, frozenset[ColumnKind]] = {
    "text": _TEXT,
    "label": _LABEL,
    "entities": frozenset({ColumnKind.SPANS}),
    "prompt": _TEXT,
    "completion": _TEXT,
    "messages": frozenset({ColumnKind.MESSAGES}),
    "features": FEATURE_KINDS,
    "target": _NUMBER,
    "time": _NUMBER,
    "event": frozenset({ColumnKind.BOOLEAN}),
    "image": _IMAGE,
    "mask": _IMAGE,
    "person": frozenset({ColumnKind.IDENTIFIER}),
}
"""By the key of a job's `dataset` that names a column: the kinds that such a column may be of."""


@dataclass(frozen=True)
class TaskForm:
    """What a job of one task says and makes.

    Attributes:
        roles: sets of keys of `dataset` that name columns; a job gives exactly one of the sets.
        labels: whether `dataset.labels` names classes.
        metrics: what its trainer measures, the first being what a round is chosen by where the job does not say.
        networks: the declared architectures that can do it; empty where it needs a base model.
        base_model: whether it can train a base model.
        statistics: whether features are described over all sites before the first round.
        head: whether a base model gets layers of the job's own, which are trained whole.
        one_class: whether each record is of one of the classes, and the network gives a score for each.
    """

    roles: tuple[frozenset[str], ...]
    metrics: tuple[str, ...]
    labels: bool = False
    networks: tuple[str, ...] = ()
    base_model: bool = True
    statistics: bool = False
    head: bool = False
    one_class: bool = False


_TABULAR = ("mlp", "ft_transformer")

FORMS: Mapping[Task, TaskForm] = {
    Task.TEXT_CLASSIFICATION: TaskForm(
        (frozenset({"text", "label"}),), ("accuracy", "macro_f1", "loss"), labels=True, head=True, one_class=True
    ),
    Task.TOKEN_CLASSIFICATION: TaskForm(
        (frozenset({"text", "entities"}),), ("entity_f1", "token_accuracy", "loss"), labels=True, head=True
    ),
    Task.CAUSAL_LANGUAGE_MODELLING: TaskForm(
        (frozenset({"prompt", "completion"}), frozenset({"messages"})), ("loss", "perplexity", "token_accuracy")
    ),
    Task.TABULAR_CLASSIFICATION: TaskForm(
        (frozenset({"features", "label"}),),
        ("accuracy", "macro_f1", "auc", "loss"),
        labels=True,
        networks=_TABULAR,
        base_model=False,
        statistics=True,
        one_class=True,
    ),
    Task.TABULAR_REGRESSION: TaskForm(
        (frozenset({"features", "target"}),),
        ("loss", "rmse", "mae", "r2"),
        networks=_TABULAR,
        base_model=False,
        statistics=True,
    ),
    Task.SURVIVAL: TaskForm(
        (frozenset({"features", "time", "event"}),),
        ("c_index", "loss"),
        networks=_TABULAR,
        base_model=False,
        statistics=True,
    ),
    Task.IMAGE_CLASSIFICATION: TaskForm(
        (frozenset({"image", "label"}),),
        ("accuracy", "macro_f1", "auc", "loss"),
        labels=True,
        networks=("densenet", "vit"),
        one_class=True,
    ),
    Task.IMAGE_SEGMENTATION: TaskForm(
        (frozenset({"image", "mask"}),), ("dice", "loss"), labels=True, networks=("unet", "unetr")
    ),
    Task.STATISTICS: TaskForm((frozenset({"features"}),), (), base_model=False, statistics=True),
}
