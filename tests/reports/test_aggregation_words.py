# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any, get_args

import pytest

from cloister.jobs.aggregation import Aggregation, ClientRule, FactorRule, Rule, ServerOptimiser
from cloister.reports import aggregation_words as words_module
from cloister.reports.aggregation_words import aggregation_words

LORA: dict[str, Any] = {"method": {"lora": {"rank": 2}}}
WHOLE: dict[str, Any] = {"method": {"full": {}}}


def words(said: dict[str, Any], method: dict[str, Any] = WHOLE) -> str:
    return aggregation_words(method | {"aggregation": Aggregation.model_validate(said).model_dump(mode="json")})


def test_a_job_that_says_nothing_has_the_mean() -> None:
    assert words({}) == "mean, weighted by training records"
    assert aggregation_words(WHOLE) == words({})
    assert words({}, LORA) == "mean, weighted by training records; each low-rank factor by itself (FedIT)"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            {"rule": {"multi_krum": {"bad_sites": 2}}, "mixing": {"bad_sites": 2}},
            "each mixed with its nearest (bad sites 2); Multi-Krum (bad sites 2)",
        ),
        (
            {"maximum_norm": 0.5, "rule": {"median": {}}},
            "updates scaled down to a norm of 0.5; median of each value",
        ),
        (
            {"server": {"nesterov": {"learning_rate": 0.5}}, "client": {"fedprox": {"mu": 0.1}}},
            "at each site FedProx (mu 0.1); mean, weighted by training records; "
            "then Nesterov momentum (learning rate 0.5, momentum 0.6)",
        ),
        (
            {"client": {"scaffold": {}}, "personal": ("classifier",)},
            "at each site SCAFFOLD; layers that stay at each site: classifier; mean, weighted by training records",
        ),
        ({"client": {"calibration": {}}}, "at each site calibrated losses; mean, weighted by training records"),
        (
            {"client": {"calibration": {"shares": {"soon": 250.0, "urgent": 0.5}}}},
            "at each site calibrated losses (shares of 2 classes); mean, weighted by training records",
        ),
    ],
)
def test_what_the_job_says_is_told_in_the_order_in_which_it_is_done(said: dict[str, Any], told: str) -> None:
    assert words(said) == told


def test_every_name_that_a_job_may_say_has_its_words() -> None:
    assert set(words_module._RULES) == set(Rule.model_fields)
    assert set(words_module._SERVERS) == set(ServerOptimiser.model_fields)
    assert set(words_module._CLIENTS) == set(ClientRule.model_fields)
    assert set(words_module._FACTORS) == set(get_args(FactorRule))
