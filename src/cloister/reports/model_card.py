# SPDX-License-Identifier: Apache-2.0
"""The model card: what the weights were made from, by whom, under which policies, and how they measured.

The front matter follows https://huggingface.co/docs/hub/model-cards; the sections follow Mitchell et al., Model Cards
for Model Reporting (https://arxiv.org/abs/1810.03993).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import yaml

from cloister.jobs.statistics import NumberSummary
from cloister.reports.aggregation_words import aggregation_words
from cloister.reports.chosen_words import unimproved
from cloister.reports.described import described, number, said_count
from cloister.reports.isolation import without_isolation
from cloister.reports.markdown import plain, table
from cloister.reports.method_words import is_adapter, method_name, method_words
from cloister.reports.model_use import how_to_use
from cloister.reports.simulated import simulated
from cloister.reports.travelled import ROUND_HEAD, by_round, counted_words, form_words, of_site

_PIPELINES = {"causal-language-modelling": "text-generation", "survival": None}
"""Names of tasks at the hub where they are other ones; None where it knows none."""


def model_card(result: dict[str, Any]) -> str:
    """The card as Markdown.

    Args:
        result: the content of `result.json` of a job that trained something.
    """
    job = result["job"]
    parts = [
        "---\n" + yaml.safe_dump(_front(job), sort_keys=True) + "---",
        f"# {job['job']}",
        f"{_what(job)} for {job['task'].replace('-', ' ')}, trained across {len(_took_part(result))} sites whose "
        f"records stayed where they are. Purpose of use: {job['purpose']}.",
        "## What it was made from",
        table(("", ""), [*_origin(job, result), *_method(job)]),
        "## Who took part",
        table(
            ("site", "training records", "validation records", "rounds", "up", "down", "sandbox", "policy digest"),
            [
                (
                    plain(name),
                    *(site[key] for key in ("training", "validation", "rounds")),
                    *of_site(site),
                    site["sandbox"],
                    _digest(site),
                )
                for name, site in _took_part(result).items()
            ],
        ),
        *_simulated(result),
        *_unsafe(result),
        *_left_out(result),
        *_features(result),
        "## What travelled",
        counted_words(result),
        *([table(ROUND_HEAD, rows)] if (rows := by_round(result)) else []),
        "## How it measured",
        f"{_measured_how(job)} {_chosen(job, result)}",
        table(("after round", *_metrics(result)), _measured(result)),
        "## How to use it",
        how_to_use(job),
        "## What it does not promise",
        f"No differential privacy and no secure aggregation were used: the server saw each site's update, and "
        f"{'an adapter' if is_adapter(job) else 'weights'} may hold traces of the records {_pronoun(job)} trained on. "
        f"The measurements are the sites' own.",
    ]
    return "\n\n".join(parts) + "\n"


def _chosen(job: dict[str, Any], result: dict[str, Any]) -> str:
    if said := unimproved(result):
        return f"**{said}**"
    chosen = result["chosen"]
    return (
        f"The {_noun(job)} is that of round {chosen['round']}, the best by {chosen['metric']} ({chosen['value']:.3f})."
    )


def _pronoun(job: dict[str, Any]) -> str:
    return "it was" if is_adapter(job) else "they were"


def _noun(job: dict[str, Any]) -> str:
    return "adapter" if is_adapter(job) else "model"


def _what(job: dict[str, Any]) -> str:
    if is_adapter(job):
        return "A LoRA adapter" if method_name(job) == "lora" else "An adapter"
    if job["base_model"]:
        return "Differences from a base model's weights"
    return "The weights of a small network"


def _front(job: dict[str, Any]) -> dict[str, Any]:
    front: dict[str, Any] = {"tags": ["federated-learning", method_name(job), "cloister"]}
    if pipeline := _PIPELINES.get(job["task"], job["task"]):
        front["pipeline_tag"] = pipeline
    if is_adapter(job):
        front["library_name"] = "peft"
    if job["base_model"]:
        front |= {"license": job["base_model"]["licence"], "base_model": job["base_model"]["name"]}
    return front


def _origin(job: dict[str, Any], result: dict[str, Any]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    if base := job["base_model"]:
        rows.append(("base model", plain(f"{base['name']} ({base['licence']})")))
        rows.append(("base model sha256", f"`{base['sha256']}`"))
    for kind, said in (job.get("architecture") or {}).items():
        if said is not None:
            settings = ", ".join(f"{key} {_value(value)}" for key, value in said.items() if value not in (None, []))
            rows.append(("architecture", plain(f"{kind}: {settings}")))
    return [*rows, (f"{_noun(job)} sha256", f"`{result['adapter_sha256']}`"), *_dataset(job, result)]


def _dataset(job: dict[str, Any], result: dict[str, Any]) -> list[tuple[object, ...]]:
    asked = job["dataset"]
    rows: list[tuple[object, ...]] = []
    for role in ("target", "time", "event", "image", "mask", "prompt", "completion", "messages"):
        if asked.get(role):
            rows.append((role, plain(asked[role])))
    if asked.get("features"):
        rows.append(("features", plain(", ".join(asked["features"]))))
    if asked["labels"]:
        rows.append(("kinds of piece" if asked.get("entities") else "classes", plain(", ".join(asked["labels"]))))
    if imaging := job.get("imaging"):
        settings = ", ".join(f"{key} {_value(value)}" for key, value in imaging.items() if value not in (None, []))
        rows.append(("images are brought to", plain(settings)))
    return [*rows, ("job", f"`{result['job_id']}`, document sha256 `{result['job_sha256']}`")]


def _method(job: dict[str, Any]) -> list[tuple[object, ...]]:
    training = job["training"]
    work = f"{training['steps']} steps" if training["steps"] else f"{training['epochs']} epochs"
    said = f"{work} of {training['batch_size']} records, seed {training['seed']}"
    return [
        ("method", method_words(job)),
        ("each round at a site", said),
        ("combined by", plain(aggregation_words(job))),
        ("values travelled", plain(form_words(job))),
    ]


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "×".join(map(str, value))
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_value(each)}" for key, each in value.items() if each is not None) + ")"
    return str(value)


def _features(result: dict[str, Any]) -> list[str]:
    """What the features are like over all sites, which a network for columns is made for."""
    found = described(result)
    if found is None:
        return []
    rows: list[tuple[object, ...]] = []
    for name, summary in found.whole.features.items():
        if isinstance(summary, NumberSummary):
            said = f"mean {number(summary.mean)}, standard deviation {number(math.sqrt(summary.variance))}"
            said = said if summary.present else "not told"
        else:
            sites = [each for each in found.at_sites(name).values() if not isinstance(each, NumberSummary)]
            said = "; ".join(
                f"{value} {said_count(count, [each.counts.get(value, 0) for each in sites])}"
                for value, count in summary.counts.items()
            )
        rows.append((plain(name), f"{summary.present:,}", f"{summary.missing:,}", plain(said)))
    said = f"Of all {found.whole.records:,} records of the sites' views, as they described them before the first round."
    return ["## What the features are like", said, table(("feature", "present", "missing or not told", ""), rows)]


def _took_part(result: dict[str, Any]) -> dict[str, Any]:
    return {name: site for name, site in result["sites"].items() if site["training"] is not None}


def _digest(site: dict[str, Any]) -> str:
    return f"`{site['policy']}`"


def _simulated(result: dict[str, Any]) -> list[str]:
    return [f"**{sentence}**"] if (sentence := simulated(result)) else []


def _unsafe(result: dict[str, Any]) -> list[str]:
    names = ", ".join(map(plain, without_isolation(result)))
    return [f"**Trained without isolation** (`sandbox: unsafe-none`) at {names}."] if names else []


def _left_out(result: dict[str, Any]) -> list[str]:
    reasons = [f"- {plain(name)}: {plain(site['reason'])}" for name, site in result["sites"].items() if site["reason"]]
    return ["Not in every round:\n\n" + "\n".join(reasons)] if reasons else []


def _measured_how(job: dict[str, Any]) -> str:
    rule = (job.get("aggregation") or {}).get("rule") or {"mean": {}}
    if rule.get("mean") is not None:
        return "Means over the sites' own validation records, weighted by their number."
    return "Medians of what the sites measured, each on its own validation records."


def _metrics(result: dict[str, Any]) -> list[str]:
    return sorted({name for entry in result["history"] for name in entry["before"]} | set(result["after"]))


def _measured(result: dict[str, Any]) -> Sequence[tuple[object, ...]]:
    versions = [(entry["round"] - 1, entry["before"]) for entry in result["history"]]
    versions.append((result["rounds"], result["after"]))
    names = _metrics(result)
    return [
        ("0 (before)" if version == 0 else version, *(f"{m[n]:.3f}" if n in m else "-" for n in names))
        for version, m in versions
    ]
