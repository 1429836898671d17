# SPDX-License-Identifier: Apache-2.0
"""The model card: what the adapter was made from, by whom, under which policies, and how it measured.

The front matter follows https://huggingface.co/docs/hub/model-cards; the sections follow Mitchell et al., Model Cards
for Model Reporting (https://arxiv.org/abs/1810.03993).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

import yaml

from cloister.reports.isolation import without_isolation

# What Markdown (https://spec.commonmark.org/0.31.2/#backslash-escapes) would take for more than text.
_MARKUP = re.compile(r"([\\`*_\[\]|~#!])")


def model_card(result: dict[str, Any]) -> str:
    """The card as Markdown.

    Args:
        result: the content of a job's `result.json`.
    """
    job, chosen = result["job"], result["chosen"]
    front = {
        "library_name": "peft",
        "license": job["base_model"]["licence"],
        "base_model": job["base_model"]["name"],
        "pipeline_tag": job["task"],
        "tags": ["federated-learning", "lora", "cloister"],
    }
    lora, training = job["method"]["lora"], job["training"]
    work = f"{training['steps']} steps" if training["steps"] else f"{training['epochs']} epochs"
    parts = [
        "---\n" + yaml.safe_dump(front, sort_keys=True) + "---",
        f"# {job['job']}",
        f"A LoRA adapter for {job['task'].replace('-', ' ')}, trained across {len(_took_part(result))} sites whose "
        f"records stayed where they are. Purpose of use: {job['purpose']}.",
        "## What it was made from",
        _table(
            ("", ""),
            [
                ("base model", _plain(f"{job['base_model']['name']} ({job['base_model']['licence']})")),
                ("base model sha256", f"`{job['base_model']['sha256']}`"),
                ("adapter sha256", f"`{result['adapter_sha256']}`"),
                (
                    "method",
                    f"LoRA, rank {lora['rank']}, alpha {lora['alpha']}, on {_plain(', '.join(lora['targets']))}",
                ),
                ("each round at a site", f"{work} of {training['batch_size']} records, seed {training['seed']}"),
                ("classes", _plain(", ".join(job["dataset"]["labels"]))),
                ("job", f"`{result['job_id']}`, document sha256 `{result['job_sha256']}`"),
            ],
        ),
        "## Who took part",
        _table(
            ("site", "training records", "validation records", "rounds", "sandbox", "policy digest"),
            [
                (
                    _plain(name),
                    site["training"],
                    site["validation"],
                    site["rounds"],
                    site["sandbox"],
                    f"`{site['policy']}`",
                )
                for name, site in _took_part(result).items()
            ],
        ),
        *_unsafe(result),
        *_left_out(result),
        "## How it measured",
        f"Means over the sites' own validation records, weighted by their number. The adapter is that of round "
        f"{chosen['round']}, the best by {chosen['metric']} ({chosen['value']:.3f}).",
        _table(("after round", *_metrics(result)), _measured(result)),
        "## How to use it",
        "```python\n"
        "from peft import PeftModel\n"
        "from transformers import AutoModelForSequenceClassification\n\n"
        f'base = AutoModelForSequenceClassification.from_pretrained("path/to/{job["base_model"]["name"]}", '
        f"num_labels={len(job['dataset']['labels'])})\n"
        'model = PeftModel.from_pretrained(base, "adapter")\n'
        "```",
        "## What it does not promise",
        "No differential privacy and no secure aggregation were used: the server saw each site's update, and an "
        "adapter may hold traces of the records it was trained on. The measurements are the sites' own.",
    ]
    return "\n\n".join(parts) + "\n"


def _took_part(result: dict[str, Any]) -> dict[str, Any]:
    return {name: site for name, site in result["sites"].items() if site["training"] is not None}


def _unsafe(result: dict[str, Any]) -> list[str]:
    names = ", ".join(map(_plain, without_isolation(result)))
    return [f"**Trained without isolation** (`sandbox: unsafe-none`) at {names}."] if names else []


def _left_out(result: dict[str, Any]) -> list[str]:
    reasons = [
        f"- {_plain(name)}: {_plain(site['reason'])}" for name, site in result["sites"].items() if site["reason"]
    ]
    return ["Not in every round:\n\n" + "\n".join(reasons)] if reasons else []


def _metrics(result: dict[str, Any]) -> list[str]:
    return sorted({name for entry in result["history"] for name in entry["before"]} | set(result["after"]))


def _measured(result: dict[str, Any]) -> list[tuple[object, ...]]:
    versions = [(entry["round"] - 1, entry["before"]) for entry in result["history"]]
    versions.append((result["rounds"], result["after"]))
    names = _metrics(result)
    return [
        ("0 (before)" if version == 0 else version, *(f"{m[n]:.3f}" if n in m else "-" for n in names))
        for version, m in versions
    ]


def _plain(text: str) -> str:
    """``text`` as one line that Markdown shows as it is; sites and documents may have put anything into it."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return _MARKUP.sub(r"\\\1", escape(line, quote=False))


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)
