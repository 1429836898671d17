# SPDX-License-Identifier: Apache-2.0
"""Which built-in trainer does a job's task. Only that one is imported: each brings libraries that take seconds."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from cloister.jobs import Task
from cloister.messages import Setup
from cloister.training.interface import Trainer

TRAINERS: Mapping[Task, tuple[str, str]] = {
    Task.TEXT_CLASSIFICATION: ("text_classifier", "TextClassifier"),
    Task.TOKEN_CLASSIFICATION: ("token_classifier", "TokenClassifier"),
    Task.CAUSAL_LANGUAGE_MODELLING: ("causal_language_model", "CausalLanguageModel"),
    Task.TABULAR_CLASSIFICATION: ("tabular", "TabularTrainer"),
    Task.TABULAR_REGRESSION: ("tabular", "TabularTrainer"),
    Task.SURVIVAL: ("survival", "SurvivalTrainer"),
    Task.IMAGE_CLASSIFICATION: ("image_classifier", "ImageClassifier"),
    Task.IMAGE_SEGMENTATION: ("segmentation", "ImageSegmenter"),
}
"""By task: the module of `cloister.training`, and the class in it."""


def trainer_for(setup: Setup) -> Trainer:
    """The built-in trainer for ``setup``, which has loaded what that names."""
    module, name = TRAINERS[setup.task]
    made: Trainer = getattr(importlib.import_module(f"cloister.training.{module}"), name)(setup)
    return made
