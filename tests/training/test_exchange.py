# SPDX-License-Identifier: Apache-2.0
"""Weights and differences of a small network that has all that is peculiar: a tied weight, counted values, a head."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import safetensors.numpy
import torch

from cloister.errors import TrainerError
from cloister.training.exchange import DifferenceExchange, Exchange, Tensors, WeightExchange, read_tensors, weights_of


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(5, 3)
        self.norm = torch.nn.BatchNorm1d(3)
        self.output = torch.nn.Linear(3, 5, bias=False)
        self.output.weight = self.embedding.weight
        self.head = torch.nn.Linear(3, 2)
        self.register_buffer("places", torch.arange(4.0), persistent=False)


SHAPES = {
    "embedding.weight": (5, 3),
    "norm.weight": (3,),
    "norm.bias": (3,),
    "norm.running_mean": (3,),
    "norm.running_var": (3,),
    "head.weight": (2, 3),
    "head.bias": (2,),
}


def drawn(seed: int) -> dict[str, np.ndarray]:
    random = np.random.Generator(np.random.PCG64(seed))
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def tensors_of(arrays: Mapping[str, np.ndarray]) -> Tensors:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def arrays_of(exchange: Exchange) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in exchange.save().items()}


def differences(network: Network) -> DifferenceExchange:
    return DifferenceExchange(network, SHAPES, lambda name: name.startswith("head."))


def test_a_tied_weight_is_there_once_and_counters_are_not() -> None:
    assert {name: tuple(each.shape) for name, each in weights_of(Network()).items()} == SHAPES


def test_weights_come_back_as_they_went_in() -> None:
    network = Network()
    exchange = WeightExchange(network, SHAPES)
    exchange.load(tensors_of(drawn(1)))
    assert np.array_equal(network.output.weight.detach().numpy(), drawn(1)["embedding.weight"])
    assert np.array_equal(network.norm.running_var.numpy(), drawn(1)["norm.running_var"])
    found = arrays_of(exchange)
    assert set(found) == set(SHAPES)
    assert all(np.array_equal(found[name], array) for name, array in drawn(1).items())


def test_differences_are_added_and_the_head_is_as_it_is() -> None:
    network = Network()
    base = {name: each.detach().numpy().copy() for name, each in weights_of(network).items()}
    exchange = differences(network)
    exchange.load(tensors_of(drawn(2)))
    exchange.load(tensors_of(drawn(1)))  # of the latest alone
    for name, weight in weights_of(network).items():
        expected = drawn(1)[name] + (0 if name.startswith("head.") else base[name])
        assert np.array_equal(weight.detach().numpy(), expected), name
    assert all(np.array_equal(array, drawn(1)[name]) for name, array in arrays_of(exchange).items())


def test_what_training_adds_is_in_the_difference() -> None:
    network = Network()
    exchange = differences(network)
    exchange.load(tensors_of(drawn(1)))
    with torch.no_grad():
        network.norm.bias += 0.25
    found = arrays_of(exchange)
    assert found["norm.bias"] == pytest.approx(drawn(1)["norm.bias"] + 0.25, abs=1e-6)
    assert np.array_equal(found["norm.weight"], drawn(1)["norm.weight"])


Make = Callable[[Mapping[str, tuple[int, ...]]], Exchange]
KINDS: list[Make] = [
    lambda shapes: WeightExchange(Network(), shapes),
    lambda shapes: DifferenceExchange(Network(), shapes, lambda _: False),
]


@pytest.mark.parametrize("make", KINDS)
def test_a_network_that_is_not_the_jobs_is_refused(make: Make) -> None:
    with pytest.raises(TrainerError, match=r"not those of the job: \[\('head\.bias', \(2,\)\)"):
        make({**SHAPES, "head.bias": (3,)})


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("change", ["missing", "extra", "shape", "dtype"])
def test_other_tensors_are_refused_and_nothing_is_taken(make: Make, change: str) -> None:
    exchange = make(SHAPES)
    before = arrays_of(exchange)
    arrays = drawn(1)
    if change == "missing":
        del arrays["head.bias"]
    elif change == "extra":
        arrays["output.weight"] = arrays["embedding.weight"]
    elif change == "shape":
        arrays["head.bias"] = arrays["head.bias"][:1]
    elif change == "dtype":
        arrays["head.bias"] = arrays["head.bias"].astype(np.float16)  # type: ignore[assignment]
    with pytest.raises(TrainerError):
        exchange.load(tensors_of(arrays))
    assert all(np.array_equal(array, before[name]) for name, array in arrays_of(exchange).items())


@pytest.mark.parametrize("make", KINDS)
def test_what_is_learnt_is_the_networks_own_parameters(make: Make) -> None:
    exchange = make(SHAPES)
    learnt = exchange.parameters()
    assert set(learnt) == set(SHAPES) - {"norm.running_mean", "norm.running_var"}
    before = arrays_of(exchange)["norm.bias"]
    with torch.no_grad():
        learnt["norm.bias"] += 0.5
    assert arrays_of(exchange)["norm.bias"] == pytest.approx(before + 0.5)


def test_tensors_are_read_by_name() -> None:
    found = read_tensors(safetensors.numpy.save({"a": np.ones((2,), np.float32)}))
    assert found["a"].tolist() == [1.0, 1.0]
    with pytest.raises(TrainerError, match="not safetensors"):
        read_tensors(b"no tensors")
