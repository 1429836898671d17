# SPDX-License-Identifier: Apache-2.0
"""Which tensors a job on images exchanges: the network is built, and asked.

Start it with ``python -m cloister.training.network_layout``: it reads one `NetworkPlan` as a line of JSON from standard
input, and writes to standard output eight bytes of length, little-endian, and so much JSON: a layout, or why not.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import Any

from cloister.errors import CloisterError, TrainerError
from cloister.jobs.adapter import AdapterLayout, Start, TensorSpec
from cloister.jobs.method_tensors import is_bias
from cloister.jobs.network_plan import NetworkPlan
from cloister.training.conversation import Pipe

_LENGTH = struct.Struct("<Q")
_FACTORS: dict[str, Start] = {".lora_A.weight": "uniform", ".lora_B.weight": "zeros"}


def layout_of_network(plan: NetworkPlan) -> AdapterLayout:
    """The tensors that are exchanged where the network of ``plan`` is trained.

    Weights of convolutions and linear layers start uniformly, biases at zero, scales of normalising layers at one, and
    slopes of PReLU at zero, which makes them ReLU; positions and whatever else is learnt are drawn normally.

    Raises:
        TrainerError: where there is no such network, or it does not fit images, classes or layers to adapt.
        RecordsError: where the bundle's weights are not safetensors.
    """
    # Seconds of import, for which whatever a library prints must go to standard error by then.
    import torch  # noqa: PLC0415

    from cloister.training.exchange import weights_of  # noqa: PLC0415
    from cloister.training.low_rank import beside_layers, factors_of  # noqa: PLC0415
    from cloister.training.networks import check_fit, network_for  # noqa: PLC0415

    network = network_for(plan, torch.device("meta")).to("meta")
    check_fit(network, plan)
    if plan.method.lora is not None:
        with torch.device("meta"):
            factors = factors_of(beside_layers(network, plan.method.lora))
        specs = [TensorSpec(name, tuple(each.shape), _factor_start(name)) for name, each in factors.items()]
    else:
        starts = {} if plan.base_model is not None else _starts(network)
        specs = [
            TensorSpec(name, tuple(each.shape), starts.get(name, "zeros" if plan.base_model is not None else "normal"))
            for name, each in weights_of(network).items()
            if plan.method.bitfit is None or is_bias(name)
        ]
    if not specs:
        raise TrainerError("the base model has no biases that `bitfit` could train", hint="take `lora` or `full`")
    return AdapterLayout(tuple(sorted(specs, key=lambda spec: spec.name)), ())


def _factor_start(name: str) -> Start:
    return next(start for end, start in _FACTORS.items() if name.endswith(end))


def _starts(network: Any) -> dict[str, Start]:
    """By name of a weight how it starts, where its layer decides that."""
    from torch import nn  # noqa: PLC0415

    found: dict[str, Start] = {}
    for place, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, nn.PReLU) or name == "bias":
                start: Start = "zeros"
            elif isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
                start = "uniform"
            elif name == "weight" and parameter.ndim == 1:
                start = "ones"
            else:
                start = "normal"
            found[f"{place}.{name}" if place else name] = start
    return found


def main() -> int:
    """Answer one plan."""
    pipe = Pipe.from_standard_streams()
    plan = NetworkPlan.model_validate_json(pipe.incoming.readline())
    try:
        answer: dict[str, Any] = {"layout": layout_of_network(plan).to_json()}
    except CloisterError as error:
        answer = {"refused": error.message, "hint": error.hint}
    content = json.dumps(answer).encode()
    pipe.outgoing.write(_LENGTH.pack(len(content)) + content)
    pipe.outgoing.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
