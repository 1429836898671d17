# SPDX-License-Identifier: Apache-2.0
"""Which tensors a method adds to a transformer, by the names and shapes of its weights.

Names are those of `peft.get_peft_model_state_dict`; the tests compare them with what `peft` makes of such models.
"""

from __future__ import annotations

from collections.abc import Mapping

from cloister.errors import RecordsError
from cloister.jobs.adapter import FACTOR_A, FACTOR_B, IA3, MAGNITUDE, PROMPT, TensorSpec
from cloister.jobs.method import Ia3, Lora, Method

LAYERS = "base_model.model."
"""What PEFT puts before the names of layers, and of a head beside them."""

Shapes = Mapping[str, tuple[int, ...]]


def lora_tensors(layers: Shapes, lora: Lora, base_model: str, rank: int, *, transposed: bool) -> list[TensorSpec]:
    """Factors of ``rank`` beside the layers that ``lora`` names, and what else its variants train.

    Args:
        layers: weights of the linear layers.
        lora: which of them, and how.
        base_model: its name, for errors.
        rank: the factors' inner dimension.
        transposed: whether weights have the input first.

    Raises:
        RecordsError: where there is no such layer.
    """
    tensors: list[TensorSpec] = []
    for stem, (rows, columns) in _targets(layers, lora.targets, base_model, transposed=transposed).items():
        tensors += [
            TensorSpec(f"{stem}{FACTOR_A}", (rank, columns), "uniform"),
            TensorSpec(f"{stem}{FACTOR_B}", (rows, rank), "zeros"),
        ]
        if lora.dora:
            tensors.append(TensorSpec(f"{stem}{MAGNITUDE}", (rows,), "zeros"))
    return tensors


def ia3_tensors(layers: Shapes, ia3: Ia3, base_model: str, *, transposed: bool) -> list[TensorSpec]:
    """A factor for each output of the layers that ``ia3`` names, or for each input of those that it says so of.

    Args:
        layers: weights of the linear layers.
        ia3: which of them, and how.
        base_model: its name, for errors.
        transposed: whether weights have the input first.

    Raises:
        RecordsError: where there is no such layer.
    """
    # Of these PEFT matches the end of the path wherever it begins, within a word too.
    return [
        TensorSpec(f"{stem}{IA3}", (1, columns) if stem.endswith(ia3.feedforward) else (rows, 1), "ones")
        for stem, (rows, columns) in _targets(layers, ia3.targets, base_model, transposed=transposed).items()
    ]


def virtual_tensors(method: Method, hidden: int, attention: int) -> list[TensorSpec]:
    """What stands for tokens before each text, drawn small: their embeddings, or their keys and values in each layer.

    Args:
        method: `prompt` or `prefix`.
        hidden: width of an embedding.
        attention: values of a token that all layers' keys and values together have.
    """
    return [TensorSpec(PROMPT, (method.virtual_tokens, attention if method.prefix else hidden), "normal")]


def bias_tensors(weights: Shapes, base_model: str) -> list[TensorSpec]:
    """What is added to the biases among ``weights``.

    Raises:
        RecordsError: where there are none.
    """
    found = [TensorSpec(name, shape, "zeros") for name, shape in weights.items() if is_bias(name)]
    if not found:
        hint = "take `lora` or another method"
        raise RecordsError(f"base model `{base_model}` has no biases that `bitfit` could train", hint=hint)
    return found


def is_bias(name: str) -> bool:
    """Whether a weight of this name is a bias."""
    return name.rpartition(".")[2] == "bias"


def _targets(
    layers: Shapes, targets: tuple[str, ...], base_model: str, *, transposed: bool
) -> dict[str, tuple[int, int]]:
    """Output and input size of each layer that one of ``targets`` names, by its path as PEFT has it."""
    found: dict[str, tuple[int, int]] = {}
    for target in targets:
        chosen = [name for name in layers if _names(name.removesuffix(".weight"), (target,))]
        if not chosen:
            known = ", ".join(f"`{name}`" for name in dict.fromkeys(_last_word(name) for name in layers))
            raise RecordsError(
                f"base model `{base_model}` has no linear layer `{target}`", hint=f"it has {known or 'none'}"
            )
        for name in chosen:
            first, second = layers[name]
            found[LAYERS + name.removesuffix(".weight")] = (second, first) if transposed else (first, second)
    return found


def _names(layer: str, targets: tuple[str, ...]) -> bool:
    """Whether one of ``targets`` stands at the end of the path of ``layer``."""
    return any(f".{layer}".endswith(f".{target}") for target in targets)


def _last_word(layer: str) -> str:
    return layer.removesuffix(".weight").rpartition(".")[2]
