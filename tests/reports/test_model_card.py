# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.filesize import decimal

from cloister.reports import model_card
from cloister.reports.travelled import ROUND_HEAD
from tests.reports.finished_job import POLICY, finished_job, hostile, with_socket


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return finished_job(tmp_path_factory.mktemp("job"))


def front_of(card: str) -> dict[str, Any]:
    _, front, _ = card.split("---\n", 2)
    return dict(yaml.safe_load(front))


def tables_of(card: str) -> list[list[list[str]]]:
    """Every table's rows, cell by cell, split at the bars that are not escaped."""
    tables: list[list[list[str]]] = []
    previous = False
    for line in card.splitlines():
        is_row = line.startswith("|")
        if is_row:
            if not previous:
                tables.append([])
            tables[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        previous = is_row
    return tables


def test_the_front_matter_is_what_the_hub_reads(result: dict[str, Any]) -> None:
    assert front_of(model_card(result)) == {
        "library_name": "peft",
        "license": "apache-2.0",
        "base_model": "all-minilm-l6-v2",
        "pipeline_tag": "text-classification",
        "tags": ["federated-learning", "lora", "cloister"],
    }


def test_digests_of_everything_it_was_made_from(result: dict[str, Any]) -> None:
    card = model_card(result)
    for digest in (result["adapter_sha256"], result["job_sha256"], result["job"]["base_model"]["sha256"], POLICY):
        assert f"`{digest}`" in card
    assert "`an-id`" in card


def test_every_site_that_took_part_with_its_records(result: dict[str, Any]) -> None:
    _, sites, _ = tables_of(model_card(result))
    assert sites[0] == [
        "site",
        "training records",
        "validation records",
        "rounds",
        "up",
        "down",
        "sandbox",
        "policy digest",
    ]
    up = decimal(result["sites"]["alpha"]["bytes"])
    assert sites[2:] == [
        ["alpha", "18", "6", "2", up, "-", "bubblewrap", f"`{POLICY}`"],
        ["beta", "36", "6", "2", up, "-", "bubblewrap", f"`{POLICY}`"],
    ]


@pytest.mark.parametrize("rule", [None, {"mean": {}}, {"mean": None, "median": {}}])
def test_it_says_whether_what_sites_measured_was_weighted(result: dict[str, Any], rule: dict[str, Any] | None) -> None:
    card = model_card(result | {"job": result["job"] | {"aggregation": {"rule": rule}}})
    weighted = rule is None or rule["mean"] is not None
    assert ("Means over the sites' own validation records, weighted by their number." in card) is weighted
    assert ("Medians of what the sites measured" in card) is not weighted


def test_how_it_was_combined_and_what_travelled(result: dict[str, Any]) -> None:
    origin, _, _ = tables_of(model_card(result))
    assert ["combined by", "mean, weighted by training records; each low-rank factor by itself (FedIT)"] in origin
    assert ["values travelled", "as they are (float32), both ways"] in origin
    assert "Nothing counted bytes at a socket" in model_card(result)
    *_, rounds, _ = tables_of(model_card(with_socket(result)))
    assert rounds[0] == list(ROUND_HEAD)
    assert rounds[2:] == [
        ["1", "2", "1.2 kB to 2.2 kB", "50.0 kB", "3.4 kB", "100.0 kB"],
        ["2", "2", "200 bytes to 1.2 kB", "50.0 kB", "1.4 kB", "100.0 kB"],
        ["whole job", "2", "1.5 kB to 3.5 kB", "101.0 kB", "5.0 kB", "202.0 kB"],
    ]


def test_a_site_that_was_left_out_with_its_reason(result: dict[str, Any]) -> None:
    assert r"- gamma: \`purpose\`: not granted (policies/gamma.yaml:12)" in model_card(result)
    assert "trained across 2 sites" in model_card(result)


def test_metrics_after_every_round(result: dict[str, Any]) -> None:
    *_, measured = tables_of(model_card(result))
    assert measured[0] == ["after round", "accuracy", "loss"]
    assert measured[2:] == [["0 (before)", "0.375", "1.750"], ["1", "0.625", "1.500"], ["2", "0.875", "1.250"]]
    assert "that of round 2, the best by accuracy (0.875)" in model_card(result)


def test_a_metric_that_a_round_lacks_is_a_dash(result: dict[str, Any]) -> None:
    changed = result | {"after": {"accuracy": 0.5}}
    assert tables_of(model_card(changed))[-1][-1] == ["2", "0.500", "-"]


def test_a_sandbox_that_was_off_is_said(result: dict[str, Any]) -> None:
    assert "without isolation" not in model_card(result)
    off = result | {"sites": result["sites"] | {"beta": result["sites"]["beta"] | {"sandbox": "unsafe-none"}}}
    assert "**Trained without isolation** (`sandbox: unsafe-none`) at beta." in model_card(off)


def test_what_it_does_not_promise_is_said(result: dict[str, Any]) -> None:
    assert "No differential privacy and no secure aggregation" in model_card(result)


def test_epochs_are_told_where_the_job_counts_in_epochs(tmp_path: Path) -> None:
    result = finished_job(tmp_path, training={"steps": None, "epochs": 3})
    assert "3 epochs of 4 records" in model_card(result)


@pytest.mark.parametrize(
    "text",
    [
        "a | b",
        "a\n| forged | row |",
        "a\n\n# Forged heading",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[click](javascript:alert(1))",
        "![x](http://evil.example/x.png)",
        "`code`",
        "**bold** _it_ ~~gone~~",
        "\\",
        "\\|",
        "a\r\n---\nlicense: evil",
        "\x1b[2J",
        "\u2028forged\u2028",
    ],
)
def test_words_from_outside_stay_words(result: dict[str, Any], text: str) -> None:
    honest, card = model_card(result), model_card(hostile(result, text))
    body = card.split("---\n", 2)[2]
    assert len(body.splitlines()) == len(honest.split("---\n", 2)[2].splitlines())
    for found, expected in zip(tables_of(card), tables_of(honest), strict=True):
        assert [len(row) for row in found] == [len(row) for row in expected]
    assert "<script" not in body
    assert "<img" not in body
    assert not re.search(r"(?<!\\)\[(click|x)(?<!\\)\]", body)
    assert "\x1b" not in body
    assert front_of(card)["license"] == text
