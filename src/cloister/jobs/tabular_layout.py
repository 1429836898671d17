# SPDX-License-Identifier: Apache-2.0
"""Which tensors are exchanged where a small network is trained on columns.

Names and shapes are those of `cloister.training.tabular_networks`, which builds the networks.
"""

from __future__ import annotations

from itertools import pairwise

from cloister.errors import JobError
from cloister.jobs.adapter import AdapterLayout, Start, TensorSpec
from cloister.jobs.architecture import FtTransformer, Mlp
from cloister.jobs.model import Job
from cloister.jobs.statistics import FeatureStatistics
from cloister.jobs.tabular_inputs import TabularInputs, inputs_of
from cloister.jobs.tasks import Task

HEAD = "head"
"""The output layer."""


def tabular_layout(job: Job, statistics: FeatureStatistics) -> AdapterLayout:
    """The tensors of the network that ``job`` declares, for features that look as ``statistics`` says.

    Weights start as PyTorch and, for the transformer's tokens, as its authors start them, biases at zero.

    Args:
        job: of a task on columns.
        statistics: over all sites.

    Raises:
        JobError: where a feature is not described, or the job declares no network for columns.
    """
    network = None if job.architecture is None else job.architecture.network
    if not isinstance(network, Mlp | FtTransformer):
        raise JobError(f"jobs of task {job.task} on columns need `mlp` or `ft_transformer` as `architecture`")
    inputs = inputs_of(job.dataset.features, statistics)
    tensors = _mlp(network, inputs) if isinstance(network, Mlp) else _ft_transformer(network, inputs)
    last = (network.hidden or (inputs.width,))[-1] if isinstance(network, Mlp) else network.width
    tensors += _linear(HEAD, outputs_of(job.task, len(job.dataset.labels)), last, bias=has_intercept(job.task))
    return AdapterLayout(tuple(sorted(tensors, key=lambda tensor: tensor.name)), ())


def outputs_of(task: Task, classes: int) -> int:
    """How many numbers the network says of a record: one for each class, else one."""
    return classes if task is Task.TABULAR_CLASSIFICATION else 1


def has_intercept(task: Task) -> bool:
    """Whether the output layer has a bias; Cox's partial likelihood does not depend on one."""
    return task is not Task.SURVIVAL


def feed_forward_width(width: int) -> int:
    """Width inside a transformer block's feed-forward layers: 4/3 of the tokens', since ReGLU has a third matrix."""
    return width * 4 // 3


def _mlp(network: Mlp, inputs: TabularInputs) -> list[TensorSpec]:
    widths = (inputs.width, *network.hidden)
    layers = enumerate(pairwise(widths))
    return [tensor for index, (before, after) in layers for tensor in _linear(f"layers.{index}", after, before)]


def _ft_transformer(network: FtTransformer, inputs: TabularInputs) -> list[TensorSpec]:
    width, feed_forward = network.width, feed_forward_width(network.width)
    rows = {
        "numbers.weight": len(inputs.numbers),
        "numbers.bias": len(inputs.numbers),
        "numbers.missing": len(inputs.indicators),
        "categories.weight": inputs.slots,
        "categories.bias": len(inputs.categories),
        "summary": 1,
    }
    tensors = [TensorSpec(name, (count, width), "uniform") for name, count in rows.items() if count]
    for index in range(network.layers):
        block = f"blocks.{index}"
        for name in ("query", "key", "value", "output"):
            tensors += _linear(f"{block}.attention.{name}", width, width)
        # The authors found that the first block's first norm does harm.
        tensors += _norm(f"{block}.attention_norm", width) if index else []
        tensors += _norm(f"{block}.feed_forward_norm", width)
        tensors += _linear(f"{block}.feed_forward.first", 2 * feed_forward, width)
        tensors += _linear(f"{block}.feed_forward.second", width, feed_forward)
    return tensors + _norm("norm", width)


def _linear(name: str, rows: int, columns: int, *, bias: bool = True) -> list[TensorSpec]:
    biases = [TensorSpec(f"{name}.bias", (rows,), "zeros")] if bias else []
    return [TensorSpec(f"{name}.weight", (rows, columns), "uniform"), *biases]


def _norm(name: str, width: int) -> list[TensorSpec]:
    starts: dict[str, Start] = {"weight": "ones", "bias": "zeros"}
    return [TensorSpec(f"{name}.{part}", (width,), start) for part, start in starts.items()]
