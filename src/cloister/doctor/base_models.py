# SPDX-License-Identifier: Apache-2.0
"""Does each base model lie where the silo document says, and is it the one that policy and jobs pin?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order
from cloister.doctor.probe import SECONDS
from cloister.files import sha256_of_file
from cloister.jobs import Job
from cloister.jobs.base_model import weights_of
from cloister.policies import Policies

_BYTES_PER_SECOND = 50 * 2**20  # a slow disk


@dataclass(frozen=True)
class Weights:
    """What lies where a base model should.

    Attributes:
        name: what the silo document calls it.
        folder: where it says that it lies.
        is_folder: whether that is one.
        digest: hexadecimal SHA-256 of its weights; empty where there are none.
    """

    name: str
    folder: Path
    is_folder: bool
    digest: str = ""


def read_weights(name: str, folder: Path) -> Weights:
    """Look at the base model in ``folder``; its weights are read from end to end."""
    if not folder.is_dir():
        return Weights(name, folder, is_folder=False)
    weights = weights_of(folder)
    return Weights(name, folder, is_folder=True, digest=sha256_of_file(weights) if weights.is_file() else "")


def seconds_for(folder: Path) -> float:
    """How long reading the weights in ``folder`` may take."""
    try:
        return SECONDS + weights_of(folder).stat().st_size / _BYTES_PER_SECOND
    except OSError:
        return SECONDS


def pins_of(name: str, policies: Policies | None, jobs: Mapping[str, Job]) -> dict[str, str]:
    """Who pins the base model called ``name``, and to which SHA-256 (pure).

    Args:
        name: what the silo document calls it.
        policies: the site's; None where they cannot be read.
        jobs: jobs by name, as far as they lie here.
    """
    pins = {
        f"the policy of `{policies.site.value.policy}`": grant.sha256
        for grant in (policies.site.value.base_models or () if policies else ())
        if policies and grant.name == name
    }
    asked = {job: each.base_model for job, each in jobs.items()}
    return pins | {
        f"the job `{job}`": model.sha256 for job, model in asked.items() if model is not None and model.name == name
    }


def judge_weights(found: Weights, pins: Mapping[str, str]) -> Finding:
    """Whether the weights are those that are pinned (pure)."""
    if not found.is_folder:
        message = f"base model `{found.name}`: `{found.folder}` is no folder"
        return Finding("D1101", message, "fetch the model, or correct `base_models` in the silo document")
    if not found.digest:
        message = f"base model `{found.name}`: `{found.folder}` holds no `model.safetensors`"
        return Finding("D1101", message, "fetch the model as safetensors, with its configuration and tokenizer")
    other = {who: pin for who, pin in pins.items() if pin != found.digest}
    if other:
        who, pin = next(iter(other.items()))
        message = f"base model `{found.name}` has sha256 {found.digest[:16]}…, and {who} pins {pin[:16]}…"
        return Finding("D1102", message, "fetch the one that was approved, or have the pin changed and signed anew")
    if not pins:
        message = f"base model `{found.name}` has sha256 {found.digest[:16]}…, and neither policy nor job pins it"
        return Finding("D1103", message, "a job can use it once the site's policy grants it under `base_models`")
    return in_order(Topic.BASE_MODELS, f"base model `{found.name}` is the one that {next(iter(pins))} pins")
