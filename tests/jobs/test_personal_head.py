# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cloister.jobs.personal_head import head_may_stay
from cloister.jobs.tasks import Task


@pytest.mark.parametrize(
    ("task", "personal", "stays"),
    [
        (Task.TEXT_CLASSIFICATION, ("classifier",), True),
        (Task.TOKEN_CLASSIFICATION, ("LayerNorm", "classifier"), True),
        (Task.TEXT_CLASSIFICATION, ("pre_classifier",), False),
        (Task.TEXT_CLASSIFICATION, ("classifier.dense",), False),
        (Task.TEXT_CLASSIFICATION, ("classifier.dense", "out_proj"), True),
        (Task.TEXT_CLASSIFICATION, ("LayerNorm",), False),
        (Task.TEXT_CLASSIFICATION, (), False),
        (Task.CAUSAL_LANGUAGE_MODELLING, ("classifier",), False),
    ],
)
def test_a_head_stays_where_all_its_layers_do(task: Task, personal: tuple[str, ...], stays: bool) -> None:
    assert head_may_stay(task, personal) is stays
