# SPDX-License-Identifier: Apache-2.0
"""Cards and pages of jobs of every task: what was trained, how, by which metric, on what."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloister.jobs import FORMS, Job, Task
from cloister.reports import model_card, result_page, statistics_page, write_report
from tests.federation_folder import default_job, merged
from tests.reports.finished_job import finished_job
from tests.reports.test_result_page import HOSTILE, Page
from tests.tabular_federation import tabular_job


def _on_base(task: str, dataset: dict[str, Any], **changes: Any) -> dict[str, Any]:
    asked = {"text": None, "label": None, "labels": None, **dataset}
    tree = merged(default_job(), {"task": task, "dataset": asked, "select_by": None})
    return merged(tree, changes)


def _on_columns(task: str, **dataset: Any) -> dict[str, Any]:
    return merged(
        tabular_job(), {"task": task, "dataset": {"label": None, "labels": None, **dataset}, "select_by": None}
    )


WORDS = {
    "lora": "LoRA, rank 2, alpha 4, on query",
    "ia3": "IA³, on key",
    "prompt": "embeddings of 5 tokens before each text",
    "prefix": "keys and values of 6 tokens before each text",
    "bitfit": "the base model's biases are trained",
    "full": "every weight is trained",
    "text, dora": "DoRA, rank 2, alpha 4, scaled by the root of the rank, on query",
    "text, bfloat16": "LoRA, rank 2, alpha 4, on query, beside a base model in bfloat16",
}
FULL = {"method": {"lora": None, "full": {}}}
JOBS: dict[str, dict[str, Any]] = {
    "text, full": merged(default_job(), FULL),
    **{
        f"text, {name}": merged(default_job(), {"method": {"lora": None, name: said}})
        for name, said in {
            "ia3": {"targets": ["key"]},
            "prompt": {"tokens": 5},
            "prefix": {"tokens": 6},
            "bitfit": {},
        }.items()
    },
    "text, dora": merged(default_job(), {"method": {"lora": {"dora": True, "rslora": True}}}),
    "text, bfloat16": merged(default_job(), {"method": {"lora": {"base_model_precision": "bfloat16"}}}),
    "tokens": _on_base("token-classification", {"text": "note", "entities": "marked", "labels": ["drug", "dose"]}),
    "language": _on_base("causal-language-modelling", {"prompt": "ask", "completion": "answer"}),
    "language, full": _on_base("causal-language-modelling", {"prompt": "ask", "completion": "answer"}, **FULL),
    "columns": tabular_job(),
    "number": _on_columns("tabular-regression", features=["age", "ward"], target="stay"),
    "survival": _on_columns("survival", features=["age"], time="days", event="died"),
    "pictures": merged(
        tabular_job(),
        {
            "task": "image-classification",
            "architecture": {"mlp": None, "densenet": {}},
            "dataset": {"features": None, "image": "scan"},
            "imaging": {"size": [32, 32]},
        },
    ),
}


def result_of(root: Path, tree: dict[str, Any]) -> dict[str, Any]:
    """A finished job's result, as if ``tree`` had been run; measured by the metrics of its task."""
    result, job = finished_job(root), Job.model_validate_json(_json(tree))
    assert job.select_by is not None
    chosen = job.select_by.metric
    names = {"accuracy": chosen, "loss": "loss" if chosen != "loss" else FORMS[job.task].metrics[1]}

    def renamed(metrics: dict[str, float]) -> dict[str, float]:
        return {names[name]: value for name, value in metrics.items()}

    for entry in result["history"]:
        entry["before"] = renamed(entry["before"])
        entry["before_by_site"] = {site: renamed(each) for site, each in entry["before_by_site"].items()}
    result["after"] = renamed(result["after"])
    result["after_by_site"] = {site: renamed(each) for site, each in result["after_by_site"].items()}
    result["chosen"]["metric"] = chosen
    result["job"] = job.model_dump(mode="json")
    return result


def _json(tree: dict[str, Any]) -> str:
    import json

    return json.dumps(tree)


@pytest.fixture(params=JOBS, ids=str)
def named(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    return request.param, result_of(tmp_path, JOBS[request.param])


def test_a_card_says_what_was_trained_and_how(named: tuple[str, dict[str, Any]]) -> None:
    _, result = named
    job, card = result["job"], model_card(result)
    front = yaml.safe_load(card.split("---\n", 2)[1])
    (way,) = (name for name, said in job["method"].items() if said is not None)
    assert front.get("library_name") == (None if way in ("bitfit", "full") else "peft")
    assert ("PeftModel.from_pretrained" in card) == (way not in ("bitfit", "full"))
    assert front["tags"] == ["federated-learning", way, "cloister"]
    assert front.get("base_model") == (job["base_model"] or {}).get("name")
    assert f"| method | {WORDS.get(named[0], WORDS[way])}" in card
    for network in (name for name, said in (job["architecture"] or {}).items() if said is not None):
        assert f"| architecture | {network}".replace("_", "\\_") in card
    for label in job["dataset"]["labels"]:
        assert label in card
    for feature in job["dataset"]["features"]:
        assert feature in card


def test_what_is_to_be_typed_is_python(named: tuple[str, dict[str, Any]]) -> None:
    (code,) = re.findall(r"```python\n(.+?)```", model_card(named[1]), re.DOTALL)
    ast.parse(code)


def test_a_page_draws_what_the_round_was_chosen_by_first(named: tuple[str, dict[str, Any]]) -> None:
    _, result = named
    page = Page(result_page(result))
    drawn = [text for text in page.texts if text.endswith("after each round")]
    assert drawn[0] == f"{result['chosen']['metric']} after each round"
    assert len(drawn) == 2
    assert sum(tag == "polyline" for tag, _ in page.tags) == 6
    points = [
        float(point.split(",")[1])
        for tag, attributes in page.tags
        if tag == "polyline"
        for point in (attributes["points"] or "").split()
    ]
    assert all(0 <= height <= 300 for height in points)


def test_tokens_have_an_output_for_each_tag(tmp_path: Path) -> None:
    assert "num_labels=5)" in model_card(result_of(tmp_path, JOBS["tokens"]))  # O, and begin and inside of two


def number(present: int, mean: float, **more: Any) -> dict[str, Any]:
    return {"kind": "number", "present": present, "missing": 0, "mean": mean, "variance": 4.0, **more}


def category(**counts: int | None) -> dict[str, Any]:
    return {"kind": "category", "present": 50, "missing": 6, "counts": counts}


BINS = {"edges": [0.0, 10.0, 20.0], "counts": [30, None]}
STATISTICS = {
    "records": 56,
    "features": {
        "age": number(56, 41.5, histogram=BINS),
        "ward": category(north=40, south=None),
        "secret": number(0, 0.0) | {"missing": 56, "variance": 0.0},
    },
}
AT_ALPHA = {
    "records": 28,
    "features": STATISTICS["features"] | {"ward": category(north=None, south=None)},
}


def described_result(root: Path, **changes: Any) -> dict[str, Any]:
    result = result_of(root, tabular_job())
    result["statistics"], result["statistics_by_site"] = STATISTICS, {"alpha": AT_ALPHA, "beta": STATISTICS}
    return result | changes


def nothing_trained(root: Path) -> dict[str, Any]:
    from tests.tabular_federation import statistics_job

    result = described_result(root)
    for key in ("chosen", "after", "after_by_site", "adapter_sha256"):
        del result[key]
    result["history"] = []
    result["job"] = Job.model_validate_json(_json(statistics_job())).model_dump(mode="json")
    return result


def test_the_card_of_a_network_on_columns_lists_what_they_are_like(tmp_path: Path) -> None:
    card = model_card(described_result(tmp_path))
    assert "## What the features are like" in card
    assert "Of all 56 records of the sites' views" in card
    assert "| age | 56 | 0 | mean 41.5, standard deviation 2 |" in card
    assert "| ward | 50 | 6 | north ≥ 40; south not told |" in card
    assert "| secret | 0 | 56 | not told |" in card


def test_a_page_of_statistics_tells_overall_and_by_site(tmp_path: Path) -> None:
    page = Page(statistics_page(nothing_trained(tmp_path)))
    text = " ".join(page.texts)
    for word in ("visit-statistics", "age", "mean 41.5, standard deviation 2", "≥ 40 · 80%", "not told", "all sites"):
        assert word in text
    assert {"alpha", "beta"} <= set(page.texts)
    assert "No site may tell anything of it." in text
    untold = [attributes for tag, attributes in page.tags if tag == "rect" and attributes.get("class") == "untold"]
    # One bin over all and at two sites; `south` over all and at two sites, and `north` at alpha.
    assert len(untold) == 7
    assert page.names().isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"})


def test_the_bars_of_a_histogram_are_as_high_as_their_counts(tmp_path: Path) -> None:
    result = nothing_trained(tmp_path)
    features = {"age": number(60, 1.0, histogram={"edges": [0.0, 1.0, 2.0], "counts": [20, 40]})}
    result["statistics"] = {"records": 60, "features": features}
    result["statistics_by_site"] = {}
    bars = [attributes for tag, attributes in Page(statistics_page(result)).tags if tag == "rect"]
    heights = [float(attributes["height"] or 0) for attributes in bars]
    assert heights[0] * 2 == pytest.approx(heights[1])


def test_values_from_outside_stay_words(tmp_path: Path) -> None:
    result = nothing_trained(tmp_path)
    honest = Page(statistics_page(result))
    features = STATISTICS["features"] | {"ward": category(**{HOSTILE: 40, "south": None})}
    result["statistics"] = STATISTICS | {"features": features}
    page = Page(statistics_page(result))
    assert page.names() == honest.names()
    assert HOSTILE in page.texts


def test_a_site_named_like_markup_stays_a_word(tmp_path: Path) -> None:
    result = nothing_trained(tmp_path)
    honest = Page(statistics_page(result))
    result["statistics_by_site"][HOSTILE] = result["statistics_by_site"].pop("alpha")
    page = Page(statistics_page(result))
    assert page.names() == honest.names()
    assert HOSTILE in page.texts


@pytest.mark.parametrize("said", [3, {"records": -1, "features": {}}, {"features": {"age": {"kind": "date"}}}, "x"])
def test_what_is_no_description_is_refused_before_anything_is_written(tmp_path: Path, said: Any) -> None:
    from cloister.errors import JobError

    with pytest.raises(JobError, match="cannot be read"):
        write_report(tmp_path / "out", nothing_trained(tmp_path) | {"statistics": said})
    assert not (tmp_path / "out").exists()


def test_of_a_job_that_trains_nothing_there_is_a_page_alone(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    assert write_report(folder, nothing_trained(tmp_path)) == ("statistics.html",)
    assert [path.name for path in folder.iterdir()] == ["statistics.html"]


def test_every_task_that_trains_is_tried_here() -> None:
    tried = {Task(tree["task"]) for tree in JOBS.values()} | {Task.STATISTICS, Task.IMAGE_SEGMENTATION}
    assert tried == set(Task)
