# SPDX-License-Identifier: Apache-2.0
"""What PEFT is told of a method: by the trainer before the first round, and by whoever takes the result into use.

Keys are those of `adapter_config.json` (https://huggingface.co/docs/peft/developer_guides/checkpoint).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloister.jobs.adapter import AdapterLayout
from cloister.jobs.method import Ia3, Lora, Method
from cloister.jobs.model import Job
from cloister.jobs.tasks import Task

PEFT_TASKS: Mapping[Task, str] = {
    Task.TEXT_CLASSIFICATION: "SEQ_CLS",
    Task.TOKEN_CLASSIFICATION: "TOKEN_CLS",
    Task.CAUSAL_LANGUAGE_MODELLING: "CAUSAL_LM",
}
"""What PEFT calls the tasks of base models."""


def peft_settings(
    method: Method, task: Task, head_modules: tuple[str, ...], *, transposed: bool, rank: int | None = None
) -> dict[str, Any]:
    """What PEFT is told of a method that adapts a base model; empty for one that trains its own weights.

    Args:
        method: how is trained.
        task: what is learnt.
        head_modules: layers that the job adds, and trains whole.
        transposed: whether the adapted layers' weights have the input first.
        rank: of low-rank factors, where it is not the job's.
    """
    settings: dict[str, Any] = {"task_type": PEFT_TASKS.get(task)}
    layers = {"modules_to_save": sorted(head_modules) or None, "fan_in_fan_out": transposed}
    if method.lora is not None:
        return settings | _lora(method.lora, rank or method.lora.rank) | layers
    if method.ia3 is not None:
        return settings | _ia3(method.ia3) | layers
    # Of the virtual tokens' methods PEFT itself adds the head.
    if method.prompt is not None:
        return settings | {
            "peft_type": "PROMPT_TUNING",
            "num_virtual_tokens": method.prompt.tokens,
            "prompt_tuning_init": "RANDOM",
        }
    if method.prefix is not None:
        return settings | {
            "peft_type": "PREFIX_TUNING",
            "num_virtual_tokens": method.prefix.tokens,
            "prefix_projection": False,
        }
    return {}


def _lora(lora: Lora, rank: int) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": lora.alpha if rank == lora.rank else lora.alpha_at(rank),
        "lora_dropout": lora.dropout,
        "use_rslora": lora.rslora,
        "use_dora": lora.dora,
        "target_modules": sorted(lora.targets),
        "bias": "none",
    }


def _ia3(ia3: Ia3) -> dict[str, Any]:
    return {
        "peft_type": "IA3",
        "target_modules": sorted(ia3.targets),
        "feedforward_modules": sorted(ia3.feedforward),
    }


def adapter_config(job: Job, layout: AdapterLayout) -> dict[str, Any]:
    """What lies beside the result's tensors: what `peft` reads as `adapter_config.json`, where it can read them.

    Where a network's own weights were trained there is nothing that `peft` could read: the file says what the tensors
    are.
    """
    settings = peft_settings(job.way, job.task, layout.head_modules, transposed=layout.transposed)
    if settings and job.base_model is not None:
        return settings | {"base_model_name_or_path": job.base_model.name, "inference_mode": True}
    network = None if job.architecture is None else job.architecture.model_dump(mode="json", exclude_none=True)
    base = None if job.base_model is None else job.base_model.model_dump(mode="json")
    meaning = "weights" if base is None else "difference from the base model's weights"
    return {"task": job.task.value, "tensors": meaning, "base_model": base, "architecture": network}
