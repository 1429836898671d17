# SPDX-License-Identifier: Apache-2.0
"""How the sites' updates became the next round's weights, in a few words."""

from __future__ import annotations

from typing import Any

from cloister.reports.method_words import method_name

_RULES = {
    "mean": "mean, weighted by training records",
    "median": "median of each value",
    "trimmed_mean": "trimmed mean of each value",
    "krum": "Krum",
    "multi_krum": "Multi-Krum",
    "geometric_median": "geometric median",
}
_SERVERS = {"nesterov": "Nesterov momentum", "adam": "FedAdam", "yogi": "FedYogi", "adagrad": "FedAdagrad"}
_CLIENTS = {"fedprox": "FedProx", "scaffold": "SCAFFOLD", "ditto": "Ditto", "calibration": "calibrated losses"}
_FACTORS = {
    "fedit": "each low-rank factor by itself (FedIT)",
    "ffa-lora": "one low-rank factor frozen (FFA-LoRA)",
    "rolora": "low-rank factors in turn (RoLoRA)",
    "fedsvd": "one low-rank factor frozen and drawn anew (FedSVD)",
    "refactored": "products of low-rank factors, factored again",
    "flora": "low-rank factors stacked (FLoRA)",
}


def aggregation_words(job: dict[str, Any]) -> str:
    """What the job says under `aggregation`, in the order in which it is done; plain text.

    Args:
        job: the job's document, as `result.json` holds it.
    """
    said = job.get("aggregation") or {}
    return "; ".join(
        [
            *_each("at each site ", _CLIENTS, said.get("client")),
            *_personal(said.get("personal")),
            *([f"updates scaled down to a norm of {said['maximum_norm']:g}"] if said.get("maximum_norm") else []),
            *([f"each mixed with its nearest ({_settings(said['mixing'])})"] if said.get("mixing") else []),
            *(_each("", _RULES, said.get("rule")) or [_RULES["mean"]]),
            *_factors(job, said.get("factors")),
            *_each("then ", _SERVERS, said.get("server")),
        ]
    )


def _each(before: str, names: dict[str, str], chosen: dict[str, Any] | None) -> list[str]:
    """The one key that is given, with its settings."""
    return [
        f"{before}{names.get(key, key)}" + (f" ({said})" if (said := _settings(settings)) else "")
        for key, settings in (chosen or {}).items()
        if settings is not None
    ]


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(_setting(key, value) for key, value in settings.items() if value is not None)


def _setting(key: str, value: Any) -> str:
    named = key.replace("_", " ")
    if isinstance(value, dict):
        return f"{named} of {len(value)} classes"
    return f"{named} {value:g}"


def _personal(layers: list[str] | None) -> list[str]:
    return [f"layers that stay at each site: {', '.join(layers)}"] if layers else []


def _factors(job: dict[str, Any], rule: str | None) -> list[str]:
    if method_name(job) != "lora":
        return []
    return [_FACTORS.get(rule or "fedit", str(rule))]
