# SPDX-License-Identifier: Apache-2.0
"""How a model was trained, in a few words."""

from __future__ import annotations

from typing import Any

from cloister.reports.markdown import plain

_ADDED = ("lora", "ia3", "prompt", "prefix")
"""Methods that add something to a base model, which `peft` reads."""


def method_name(job: dict[str, Any]) -> str:
    """The method's key; empty where nothing is trained.

    Args:
        job: the job's document, as `result.json` holds it.
    """
    return next((name for name, said in (job["method"] or {}).items() if said is not None), "")


def is_adapter(job: dict[str, Any]) -> bool:
    """Whether what was trained is added to a base model, so that `peft` reads it."""
    return method_name(job) in _ADDED


def method_words(job: dict[str, Any]) -> str:
    """The method and its settings, as Markdown."""
    name = method_name(job)
    said = (job["method"] or {}).get(name) or {}
    tokens = said.get("tokens")
    match name:
        case "lora":
            return _lora(said)
        case "ia3":
            return f"IA³, on {plain(', '.join(said['targets']))}"
        case "prompt":
            return f"embeddings of {tokens} tokens before each text"
        case "prefix":
            return f"keys and values of {tokens} tokens before each text"
        case "bitfit":
            return "the base model's biases are trained"
        case _:
            return "every weight is trained"


def _lora(said: dict[str, Any]) -> str:
    title = "DoRA" if said.get("dora") else "LoRA"
    scale = ", scaled by the root of the rank" if said.get("rslora") else ""
    precision = said.get("base_model_precision", "float32")
    base = "" if precision == "float32" else f", beside a base model in {precision}"
    return f"{title}, rank {said['rank']}, alpha {said['alpha']}{scale}, on {plain(', '.join(said['targets']))}{base}"
