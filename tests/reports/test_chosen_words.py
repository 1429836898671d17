# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from cloister.reports import chosen_words, model_card, result_page
from cloister.reports.chosen_words import unimproved
from tests.reports.finished_job import finished_job


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return finished_job(tmp_path_factory.mktemp("job"))


def in_vain(result: dict[str, Any], *losses: float | None) -> dict[str, Any]:
    """``result`` with the first weights as the best, and these training losses by round."""
    history = [entry | {"train_loss": loss} for entry, loss in zip(result["history"], losses, strict=True)]
    return result | {"chosen": {"round": 0, "metric": "accuracy", "value": 0.375}, "history": history}


def test_a_round_that_helped_is_named(result: dict[str, Any]) -> None:
    assert chosen_words(result) == "chosen: round 2, accuracy 0.875"
    assert unimproved(result) == ""


def test_where_none_helped_it_is_said_what_that_means_and_what_to_look_at(result: dict[str, Any]) -> None:
    said = chosen_words(in_vain(result, None, None))
    assert said == (
        "chosen: the first weights. No round measured better than the weights that the first one began with "
        "(accuracy 0.375): training did not help, and the result is those weights. Look at the curves by round "
        "(result.html), at `learning_rate`, `steps` or `epochs` and `rounds` of the job, and at whether there are "
        "validation records enough to tell a difference."
    )
    assert "round 0" not in said


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ((1.5, 0.5), "The training loss went from 1.500 to 0.500: what was learned did not carry over"),
        ((1.5, 2.5), "The training loss went from 1.500 to 2.500: not even that fell."),
        ((1.5, 1.5), "The training loss went from 1.500 to 1.500: not even that fell."),
    ],
)
def test_the_training_loss_tells_a_step_too_large_from_what_does_not_carry_over(
    result: dict[str, Any], losses: tuple[float, float], told: str
) -> None:
    assert told in unimproved(in_vain(result, *losses))
    assert "training loss" not in unimproved(in_vain(result, None, losses[1]))


def test_card_and_page_say_it_too_and_name_no_round(result: dict[str, Any]) -> None:
    vain = in_vain(result, 1.5, 2.5)
    assert f"**{unimproved(vain)}**" in model_card(vain)
    assert "is that of round" not in model_card(vain)
    page = result_page(vain)
    assert '<p class="warning">No round measured better than' in page
    assert "<b>none</b><span>round chosen, of 2</span>" in page
    assert "training did not help" not in result_page(result)
