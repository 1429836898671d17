# SPDX-License-Identifier: Apache-2.0
"""Jobs on columns in a real federation: one that describes features, and one whose network waits for descriptions."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.federation_folder import SITES
from tests.flare.live import Live
from tests.tabular_federation import (
    DATASET,
    EDGES,
    MINIMUM_COUNT,
    STATISTICS_JOB,
    TABULAR_JOB,
    make_tabular_federation,
    visits_of,
)

pytestmark = pytest.mark.flare


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A federation with visits that is up."""
    live = Live(make_tabular_federation(tmp_path_factory.mktemp("tabular")))
    live.cli("provision")
    live.cli("policy", "sign", "--untested")
    try:
        live.cli("up")
        yield live
    finally:
        live.cli("down", expect=None)


@pytest.fixture(scope="module")
def described(running: Live) -> tuple[dict[str, Any], Path]:
    """The result of the job that describes features, by `cloister data stats`."""
    value = running.json("data", "stats", STATISTICS_JOB)
    return json.loads((Path(value["folder"]) / "result.json").read_text(encoding="utf-8")), Path(value["folder"])


@pytest.fixture(scope="module")
def trained(running: Live) -> tuple[dict[str, Any], Path]:
    """The result of the job that trains a network."""
    value = running.json("run", TABULAR_JOB)
    return value["result"], Path(value["folder"])


def column(name: str, sites: tuple[str, ...] = SITES) -> list[str]:
    return [visit[name] for site in sites for visit in visits_of(site)]


def test_pooled_numbers_are_those_of_all_records_together(described: tuple[dict[str, Any], Path]) -> None:
    features = described[0]["statistics"]["features"]
    stays = np.array(column("stay"), float)
    stay = features["stay"]
    assert (stay["present"], stay["missing"]) == (len(stays), 0)
    assert stay["mean"] == pytest.approx(stays.mean(), rel=1e-12)
    assert stay["variance"] == pytest.approx(stays.var(), rel=1e-12)
    ages = np.array([float(age) for age in column("age") if age])
    age = features["age"]
    assert (age["present"], age["missing"]) == (len(ages), 240 - len(ages))
    assert age["mean"] == pytest.approx(ages.mean(), rel=1e-12)
    assert math.sqrt(age["variance"]) == pytest.approx(ages.std(), rel=1e-12)


def test_pooled_counts_are_those_of_all_records_together(described: tuple[dict[str, Any], Path]) -> None:
    features = described[0]["statistics"]["features"]
    smokes = Counter("true" if said == "yes" else "false" for said in column("smokes"))
    assert features["smokes"]["counts"] == dict(smokes)
    bins = features["age"]["histogram"]
    assert bins["edges"] == list(EDGES)
    assert bins["counts"] == np.histogram([float(age) for age in column("age") if age], EDGES)[0].tolist()


def test_counts_that_are_too_small_are_not_told_at_any_site(described: tuple[dict[str, Any], Path]) -> None:
    result = described[0]
    assert 0 < column("ward").count("south") / len(SITES) < MINIMUM_COUNT
    assert set(result["statistics_by_site"]) == set(SITES)
    for one in [result["statistics"], *result["statistics_by_site"].values()]:
        counts = one["features"]["ward"]["counts"]
        assert counts["south"] is None
        # Of two others one must be kept back as well, or the third would follow from the total.
        assert sum(count is None for count in counts.values()) == 2


def test_no_weights_and_no_card_but_a_page(described: tuple[dict[str, Any], Path]) -> None:
    result, folder = described
    assert {path.name for path in folder.iterdir()} == {"result.json", "statistics.html"}
    assert "chosen" not in result
    page = (folder / "statistics.html").read_text(encoding="utf-8")
    assert all(name in page for name in (*SITES, "age", "ward", "not told"))


def test_a_description_is_fetched_again_as_any_result(running: Live, described: tuple[dict[str, Any], Path]) -> None:
    place = running.root / "again"
    done = running.cli("job", "fetch", described[0]["job_id"], "--to", str(place))
    assert "240 records described at 3 sites" in done.stdout
    assert {path.name for path in place.iterdir()} == {"result.json", "statistics.html"}


def test_a_network_that_waits_for_descriptions_learns(trained: tuple[dict[str, Any], Path]) -> None:
    result, folder = trained
    assert result["phase"] == "completed"
    assert [entry["sites"] for entry in result["history"]] == [list(SITES)] * 2
    assert result["chosen"]["metric"] == "auc"
    assert result["chosen"]["value"] > 0.85 > result["history"][0]["before"]["auc"]
    assert {path.name for path in folder.iterdir()} == {
        "adapter",
        "MODEL_CARD.md",
        "result.html",
        "result.json",
        "statistics.html",
    }


def test_its_tensors_are_those_that_follow_from_the_descriptions(
    running: Live, trained: tuple[dict[str, Any], Path]
) -> None:
    from safetensors.numpy import load_file

    from cloister.jobs import layout_of
    from cloister.jobs.statistics import FeatureStatistics
    from cloister.repository import load_repository

    result, folder = trained
    statistics = FeatureStatistics.model_validate_json(json.dumps(result["statistics"]))
    layout = layout_of(load_repository(running.root).jobs[TABULAR_JOB].value, statistics=statistics)
    arrays = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert {name: array.shape for name, array in arrays.items()} == layout.shapes()
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert layout.parts == ("model",)


def test_both_sides_of_the_split_were_described_for_it(trained: tuple[dict[str, Any], Path]) -> None:
    """Else what another job describes, less this, would describe the validation records alone."""
    result, _ = trained
    assert set(result["statistics_by_site"]) == set(SITES)
    for site, described in result["statistics_by_site"].items():
        sides = result["sites"][site]
        assert described["records"] == sides["training"] + sides["validation"] > sides["training"]


def test_data_check_foretells_what_the_sites_did(running: Live, trained: tuple[dict[str, Any], Path]) -> None:
    result, _ = trained
    for site in SITES:
        told = running.json("data", "check", site, "--dataset", DATASET)
        assert told["split"] == "own"
        job = told["datasets"][DATASET]["jobs"][TABULAR_JOB]
        assert job["allowed"]
        assert (job["training"], job["validation"]) == (
            result["sites"][site]["training"],
            result["sites"][site]["validation"],
        )
