# SPDX-License-Identifier: Apache-2.0
"""A choice in a document: one key, and no more."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cloister.documents import OneOf
from cloister.jobs import Architecture, Method
from cloister.jobs.aggregation import ClientRule, Rule, ServerOptimiser


class Choice(OneOf):
    """Of two."""

    tea: int | None = None
    coffee: int | None = None


def test_one_key_is_a_choice() -> None:
    assert Choice(tea=1).name == "tea"
    assert Choice.model_validate_json('{"coffee": 0}').name == "coffee"


@pytest.mark.parametrize("text", ["{}", '{"tea": 1, "coffee": 2}', '{"tea": null}'])
def test_none_and_two_are_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="needs exactly one of `tea`, `coffee`"):
        Choice.model_validate_json(text)


@pytest.mark.parametrize("model", [Architecture, ClientRule, Method, Rule, ServerOptimiser])
def test_every_choice_of_a_job_is_one(model: type[OneOf]) -> None:
    assert issubclass(model, OneOf)
    with pytest.raises(ValidationError, match="needs exactly one of"):
        model.model_validate_json("{}")
