# SPDX-License-Identifier: Apache-2.0
"""What PEFT adds to a base model as it is exchanged, and low-rank factors beside the layers of a network for images."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

from cloister.errors import TrainerError
from cloister.jobs.adapter import MAGNITUDE
from cloister.jobs.method import Lora
from cloister.training.exchange import Parameters, Shapes, Tensors, check_tensors

_PROMPTS = "prompt_embeddings"
"""What PEFT calls the vectors of prompt and prefix tuning."""

_NAME = "default"
"""What PEFT calls an adapter that is given no name."""


def beside_layers(network: torch.nn.Module, lora: Lora) -> Any:
    """``network``, which is none of transformers', frozen, with factors beside the linear layers that ``lora`` names.

    Raises:
        TrainerError: where it has no such layer.
    """
    modules = dict(network.named_modules())
    linear = [name for name, module in modules.items() if isinstance(module, torch.nn.Linear)]
    for target in lora.targets:
        # As PEFT matches: a layer of another kind by that name would be adapted too.
        matched = [name for name in modules if f".{name}".endswith(f".{target}")]
        if not matched or not set(matched) <= set(linear):
            known = ", ".join(f"`{name}`" for name in dict.fromkeys(name.rpartition(".")[2] for name in linear))
            raise TrainerError(f"the base model has no linear layer `{target}`", hint=f"it has {known or 'none'}")
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_rslora=lora.rslora,
        target_modules=list(lora.targets),
    )
    return get_peft_model(network, config)


def factors_of(model: Any) -> Tensors:
    """What `AdapterExchange` exchanges of ``model``, by name."""
    factors: Tensors = get_peft_model_state_dict(model)
    return factors


class AdapterExchange:
    """Exchanges what PEFT added to ``model``, and the head, by the names that PEFT gives them.

    Of the lengths that DoRA trains what is exchanged is the difference from those of the base model, as in
    `cloister.training.exchange.DifferenceExchange`.

    Args:
        model: what `cloister.training.peft_adapter.with_adapter` or `beside_layers` returned.
        shapes: of the job's tensors.

    Raises:
        TrainerError: where ``model`` has other ones.
    """

    def __init__(self, model: Any, shapes: Shapes) -> None:
        self._model = model
        self._shapes = shapes
        state = factors_of(model)
        check_tensors(state, shapes)
        self._base = {name: tensor.detach().clone() for name, tensor in state.items() if name.endswith(MAGNITUDE)}
        self._received = {name: torch.zeros_like(length) for name, length in self._base.items()}

    def load(self, tensors: Tensors) -> None:
        """Put ``tensors`` into the network; raises `TrainerError` where they are not the job's."""
        check_tensors(tensors, self._shapes)
        for name, received in self._received.items():
            received.copy_(tensors[name])
        lengths = {name: base + self._received[name] for name, base in self._base.items()}
        set_peft_model_state_dict(self._model, {**tensors, **lengths})

    def save(self) -> Tensors:
        """What was added, and the head."""
        state = factors_of(self._model)
        lengths = {
            name: received + (state[name].detach() - (self._base[name] + received))
            for name, received in self._received.items()
        }
        return {**state, **lengths}

    def parameters(self) -> Parameters:
        """What was added and the head themselves."""
        # PEFT names what it is given; a state of the parameters' own values would be told apart from them.
        state = self._model.state_dict(keep_vars=True)
        found = {
            name: tensor
            for name, tensor in get_peft_model_state_dict(self._model, state_dict=state).items()
            if isinstance(tensor, torch.nn.Parameter)
        }
        # Of prompts PEFT gives what they come to, which is a tensor of its own.
        if (prompts := getattr(self._model, "prompt_encoder", None)) is not None:
            found[_PROMPTS] = prompts[_NAME].embedding.weight
        return found
