# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cloister.aggregation import optimiser_of, rule_of
from cloister.aggregation.adaptive import Adagrad, Adam, Yogi
from cloister.aggregation.mixing import Mixing
from cloister.aggregation.nesterov import Nesterov
from cloister.aggregation.norm_bounding import NormBounding
from cloister.aggregation.server_optimiser import Added
from cloister.jobs.aggregation import Aggregation, Rule, ServerOptimiser
from cloister.jobs.combinations import objections
from cloister.jobs.compression import Compression
from cloister.jobs.method import Full, Method
from tests.aggregation.contributions import combined, contributions, drawn

RULES = {
    "mean": {},
    "median": {},
    "trimmed_mean": {"bad_sites": 3},
    "krum": {"bad_sites": 2},
    "multi_krum": {"bad_sites": 4},
    "geometric_median": {},
}
SERVERS = {None: Added, "nesterov": Nesterov, "adam": Adam, "yogi": Yogi, "adagrad": Adagrad}


def asked(document: dict[str, object]) -> Aggregation:
    return Aggregation.model_validate(document)


def test_every_name_that_a_job_may_say_stands_here() -> None:
    assert set(RULES) == set(Rule.model_fields)
    assert {name for name in SERVERS if name} == set(ServerOptimiser.model_fields)


def test_a_job_that_says_nothing_gets_the_mean_and_no_optimiser(tmp_path: Path) -> None:
    assert rule_of(Aggregation()).name == "mean"
    assert isinstance(optimiser_of(Aggregation(), tmp_path / "state"), Added)


@pytest.mark.parametrize("name", RULES)
def test_the_rule_is_the_one_of_that_name_and_number(name: str) -> None:
    section = asked({"rule": {name: RULES[name]}})
    rule = rule_of(section)
    assert rule.name == name
    assert rule.bad_sites == section.rule.bad_sites == RULES[name].get("bad_sites", 0)
    bounded = rule_of(asked({"rule": {name: RULES[name]}, "maximum_norm": 2.5}))
    assert isinstance(bounded, NormBounding)
    assert (bounded.name, bounded.bad_sites) == (name, rule.bad_sites)
    assert bounded.needed(2) == rule.needed(2)


@pytest.mark.parametrize("name", sorted(set(RULES) - {"mean"}))
def test_mixing_stands_between_the_bound_and_the_rule(name: str) -> None:
    bad = RULES[name].get("bad_sites", 2)
    section = {"rule": {name: RULES[name]}, "mixing": {"bad_sites": bad}}
    rule = rule_of(asked(section))
    assert isinstance(rule, Mixing)
    assert (rule.name, rule.bad_sites) == (name, bad)
    bounded = rule_of(asked({**section, "maximum_norm": 2.5}))
    assert isinstance(bounded, NormBounding)
    updates = contributions(drawn(1, sites=11, values=50) * 10)
    expected = NormBounding(rule, 2.5)
    np.testing.assert_array_equal(combined(bounded, updates), combined(expected, updates))


def test_mixing_in_front_of_the_mean_is_refused() -> None:
    with pytest.raises(ValueError, match="bear bad sites"):
        rule_of(asked({"mixing": {"bad_sites": 1}}))


@pytest.mark.parametrize("name", SERVERS)
def test_the_optimiser_is_the_one_of_that_name(name: str | None, tmp_path: Path) -> None:
    section = asked({"server": {name: {}}} if name else {})
    assert type(optimiser_of(section, tmp_path / "state")) is SERVERS[name]


@pytest.mark.parametrize("name", RULES)
def test_a_document_may_ask_for_no_fewer_sites_than_the_rule_needs_to_bear_what_it_says(name: str) -> None:
    section = asked({"rule": {name: RULES[name]}})
    # The median and the geometric median are not told a number; that they bear one is the least they are taken for.
    bears = section.rule.bad_sites or (0 if name == "mean" else 1)
    needed = rule_of(section).needed(bears)
    assert needed is not None

    def refused(sites: int) -> list[str]:
        federation = SimpleNamespace(rounds=5, minimum_sites=sites)
        return objections(Method(full=Full()), section, Compression(), federation)

    assert refused(needed) == []
    assert name == "mean" or f"at least {needed}" in refused(needed - 1)[0]
