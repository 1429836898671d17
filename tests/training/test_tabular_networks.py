# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from cloister.jobs.architecture import FtTransformer, Mlp
from cloister.jobs.tabular_inputs import CategoryInput, NumberInput, TabularInputs
from cloister.training.tabular_networks import Rows, network_of

INPUTS = TabularInputs(
    (NumberInput("age", 0.0, 1.0, True), NumberInput("pulse", 0.0, 1.0, False)),
    (CategoryInput("ward", ("a", "b")), CategoryInput("sex", ())),
)
PLANS = [Mlp(hidden=(7,), dropout=0.5), Mlp(), FtTransformer(width=8, layers=2, heads=2, dropout=0.5)]


def rows() -> Rows:
    return Rows(
        torch.tensor([[0.0, 1.0], [2.0, -1.0], [0.5, 0.0]]),
        torch.tensor([[1.0], [0.0], [0.0]]),
        torch.tensor([[0, 4], [3, 5], [1, 4]]),
    )


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{type(plan).__name__}-{len(str(plan))}")
def test_every_value_of_a_record_counts_and_no_other_record_does(plan: Mlp | FtTransformer) -> None:
    torch.manual_seed(0)
    network = network_of(plan, INPUTS, 3, intercept=True).eval()
    said = network(rows())
    assert said.shape == (3, 3)
    changes = {
        "numbers": torch.tensor([[0.0, 0.3], [0.0, 0.0], [0.0, 0.0]]),
        "missing": torch.tensor([[-1.0], [0.0], [0.0]]),
        "slots": torch.tensor([[1, 0], [0, 0], [0, 0]]),
    }
    for name, change in changes.items():
        changed = rows()
        getattr(changed, name).add_(change.to(getattr(changed, name).dtype))
        other = network(changed)
        assert not torch.allclose(other[0], said[0])
        assert torch.allclose(other[1:], said[1:], atol=1e-6)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{type(plan).__name__}-{len(str(plan))}")
def test_every_weight_is_trained(plan: Mlp | FtTransformer) -> None:
    torch.manual_seed(1)
    network = network_of(plan, INPUTS, 2, intercept=True)
    varied = Rows(
        torch.randn(64, 2), torch.ones(64, 1), torch.stack((torch.arange(64) % 4, 4 + torch.arange(64) % 2), 1)
    )
    # Not the sum: over values that a norm has centred, it would have no gradient.
    torch.nn.functional.cross_entropy(network(varied), torch.arange(64) % 2).backward()
    for name, parameter in network.named_parameters():
        if not name.endswith("key.bias"):  # the softmax over keys does not depend on it
            assert parameter.grad is not None, name
            assert bool(parameter.grad.abs().sum() > 0), name


def test_a_linear_model_is_a_sum() -> None:
    network = network_of(Mlp(), INPUTS, 1, intercept=False)
    weight = network.head.weight[0]
    said = network(rows())[:, 0]
    assert torch.allclose(said[0], weight[1] + weight[2] + weight[3] + weight[7])
    assert torch.allclose(said[1], 2 * weight[0] - weight[1] + weight[6] + weight[8])


def test_columns_of_one_kind_are_enough() -> None:
    for inputs in (TabularInputs(INPUTS.numbers, ()), TabularInputs((), INPUTS.categories)):
        numbers, categories = len(inputs.numbers), len(inputs.categories)
        some = Rows(
            rows().numbers[:, :numbers], rows().missing[:, : len(inputs.indicators)], rows().slots[:, :categories]
        )
        for plan in PLANS:
            assert network_of(plan, inputs, 2, intercept=True)(some).shape == (3, 2)


def test_attention_agrees_with_pytorchs_own() -> None:
    torch.manual_seed(2)
    plan = FtTransformer(width=12, layers=1, heads=3)
    attention = network_of(plan, INPUTS, 1, intercept=True).blocks[0].attention  # type: ignore[union-attr,index]
    reference = torch.nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        parts = (attention.query, attention.key, attention.value)
        reference.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        reference.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        reference.out_proj.load_state_dict(attention.output.state_dict())
    tokens = torch.randn(5, 4, 12)
    assert torch.allclose(attention(tokens), reference(tokens, tokens, tokens)[0], atol=1e-6)
