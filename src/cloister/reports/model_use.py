# SPDX-License-Identifier: Apache-2.0
"""The lines of Python with which a result is taken into use, by what was trained and how."""

from __future__ import annotations

from typing import Any

from cloister.jobs import Task
from cloister.jobs.tags import tags_of
from cloister.reports.method_words import is_adapter

_CLASSES = {
    Task.TEXT_CLASSIFICATION: "AutoModelForSequenceClassification",
    Task.TOKEN_CLASSIFICATION: "AutoModelForTokenClassification",
    Task.CAUSAL_LANGUAGE_MODELLING: "AutoModelForCausalLM",
    Task.IMAGE_CLASSIFICATION: "AutoModelForImageClassification",
}
"""The class of `transformers` that makes a base model do a task."""

_TENSORS = "adapter/adapter_model.safetensors"


def how_to_use(job: dict[str, Any]) -> str:
    """The passage as Markdown.

    Args:
        job: the job's document, as `result.json` holds it.
    """
    if not job["base_model"]:
        said = (
            "The tensors are the network's own weights. `adapter/adapter_config.json` says which network it is; its "
            "inputs are prepared as the job's document and the descriptions of its features say."
        )
        code = _python("from safetensors.numpy import load_file", "", f'weights = load_file("{_TENSORS}")')
        return f"{said}\n\n{code}"
    known = _CLASSES.get(Task(job["task"]), "AutoModel")
    count = _outputs(job)
    labels = f", num_labels={count}" if count else ""
    place = f'"path/to/{job["base_model"]["name"]}"{labels}'
    if is_adapter(job):
        return _python(
            "from peft import PeftModel",
            f"from transformers import {known}",
            "",
            f"base = {known}.from_pretrained({place})",
            'model = PeftModel.from_pretrained(base, "adapter")',
        )
    code = _python(
        "from safetensors.torch import load_file",
        f"from transformers import {known}",
        "",
        f"model, report = {known}.from_pretrained({place}, output_loading_info=True)",
        "state = model.state_dict()",
        f'for name, tensor in load_file("{_TENSORS}").items():',
        '    state[name] = tensor if name in report["missing_keys"] else state[name] + tensor',
        "model.load_state_dict(state)",
    )
    said = "The tensors are differences from the base model's weights; of layers that it does not have, the weights."
    return f"{said}\n\n{code}"


def _outputs(job: dict[str, Any]) -> int:
    """How many outputs the layers have that the job adds to the base model; 0 where it adds none."""
    labels = tuple(job["dataset"]["labels"])
    return len(tags_of(labels)) if job["task"] == Task.TOKEN_CLASSIFICATION.value else len(labels)


def _python(*lines: str) -> str:
    return "```python\n" + "\n".join(lines) + "\n```"
