# SPDX-License-Identifier: Apache-2.0
"""Networks for columns, with exactly the tensors of `cloister.jobs.tabular_layout`, and no buffers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from cloister.jobs.architecture import FtTransformer as FtTransformerPlan
from cloister.jobs.architecture import Mlp as MlpPlan
from cloister.jobs.tabular_inputs import TabularInputs
from cloister.jobs.tabular_layout import feed_forward_width


@dataclass(frozen=True)
class Rows:
    """Records as `cloister.jobs.tabular_inputs` says.

    Attributes:
        numbers: standardised, 0 where missing; float32, shape (n, numbers).
        missing: 1 where a number with an indicator is missing; float32, shape (n, indicators).
        slots: of each category, counted over all categories; int64, shape (n, categories).
    """

    numbers: torch.Tensor
    missing: torch.Tensor
    slots: torch.Tensor


class Mlp(nn.Module):
    """Linear maps with ReLU between them; categories as one value for each slot.

    Args:
        plan: as the job declares it.
        inputs: what a record consists of.
        outputs: numbers that are said of a record.
        intercept: whether the output layer has a bias.
    """

    def __init__(self, plan: MlpPlan, inputs: TabularInputs, outputs: int, *, intercept: bool = True) -> None:
        super().__init__()
        widths = (inputs.width, *plan.hidden)
        self._slots = inputs.slots
        self.layers = nn.ModuleList(nn.Linear(*each) for each in pairwise(widths))
        self.dropout = nn.Dropout(plan.dropout)
        self.head = nn.Linear(widths[-1], outputs, bias=intercept)

    def forward(self, rows: Rows) -> torch.Tensor:
        """What is said of each record, shape (n, outputs)."""
        occupied = torch.zeros(len(rows.slots), self._slots, device=rows.slots.device).scatter(1, rows.slots, 1.0)
        values = torch.cat((rows.numbers, rows.missing, occupied), dim=1)
        for layer in self.layers:
            values = self.dropout(torch.relu(layer(values)))
        said: torch.Tensor = self.head(values)
        return said


class FtTransformer(nn.Module):
    """The feature tokeniser and transformer of Gorishniy et al. (https://arxiv.org/abs/2106.11959, section 3.3).

    Each column is a token: a number's is its value times a vector, plus a bias; a category's is its slot's vector, plus
    a bias. A further token stands for the record; the output layer reads what becomes of it. Blocks normalise before
    each part, but for the very first, and their feed-forward layers are gated by ReLU (ReGLU).

    Args:
        plan: as the job declares it.
        inputs: what a record consists of.
        outputs: numbers that are said of a record.
        intercept: whether the output layer has a bias.
    """

    def __init__(self, plan: FtTransformerPlan, inputs: TabularInputs, outputs: int, *, intercept: bool = True) -> None:
        super().__init__()
        self.numbers = _Numbers(inputs, plan.width) if inputs.numbers else None
        self.categories = _Categories(inputs, plan.width) if inputs.categories else None
        self.summary = nn.Parameter(_rows(1, plan.width))
        self.blocks = nn.ModuleList(_Block(plan, first=index == 0) for index in range(plan.layers))
        self.norm = nn.LayerNorm(plan.width)
        self.head = nn.Linear(plan.width, outputs, bias=intercept)

    def forward(self, rows: Rows) -> torch.Tensor:
        """What is said of each record, shape (n, outputs)."""
        tokens = [self.summary.expand(len(rows.numbers), 1, -1)]
        if self.numbers is not None:
            tokens.append(self.numbers(rows))
        if self.categories is not None:
            tokens.append(self.categories(rows))
        values = torch.cat(tokens, dim=1)
        for block in self.blocks:
            values = block(values)
        said: torch.Tensor = self.head(torch.relu(self.norm(values[:, 0])))
        return said


class _Numbers(nn.Module):
    def __init__(self, inputs: TabularInputs, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(_rows(len(inputs.numbers), width))
        self.bias = nn.Parameter(_rows(len(inputs.numbers), width))
        self._indicators = list(inputs.indicators)
        if inputs.indicators:
            self.missing = nn.Parameter(_rows(len(inputs.indicators), width))

    def forward(self, rows: Rows) -> torch.Tensor:
        tokens = rows.numbers.unsqueeze(2) * self.weight + self.bias
        if self._indicators:
            added = torch.zeros_like(tokens)
            added[:, self._indicators] = rows.missing.unsqueeze(2) * self.missing
            tokens = tokens + added
        return tokens


class _Categories(nn.Module):
    def __init__(self, inputs: TabularInputs, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(_rows(inputs.slots, width))
        self.bias = nn.Parameter(_rows(len(inputs.categories), width))

    def forward(self, rows: Rows) -> torch.Tensor:
        return nn.functional.embedding(rows.slots, self.weight) + self.bias


class _Block(nn.Module):
    def __init__(self, plan: FtTransformerPlan, *, first: bool) -> None:
        super().__init__()
        self.attention = _Attention(plan)
        if not first:
            self.attention_norm = nn.LayerNorm(plan.width)
        self.feed_forward = _FeedForward(plan)
        self.feed_forward_norm = nn.LayerNorm(plan.width)
        self._first = first

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attention(tokens if self._first else self.attention_norm(tokens))
        summed: torch.Tensor = tokens + self.feed_forward(self.feed_forward_norm(tokens))
        return summed


class _Attention(nn.Module):
    def __init__(self, plan: FtTransformerPlan) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(plan.width, plan.width) for _ in range(4))
        self._heads, self._dropout = plan.heads, plan.dropout

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            layer(tokens).unflatten(2, (self._heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        dropout = self._dropout if self.training else 0.0
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        said: torch.Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return said


class _FeedForward(nn.Module):
    def __init__(self, plan: FtTransformerPlan) -> None:
        super().__init__()
        inner = feed_forward_width(plan.width)
        self.first = nn.Linear(plan.width, 2 * inner)
        self.second = nn.Linear(inner, plan.width)
        self.dropout = nn.Dropout(plan.dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        values, gate = self.first(tokens).chunk(2, dim=2)
        said: torch.Tensor = self.second(self.dropout(values * torch.relu(gate)))
        return said


def _rows(count: int, width: int) -> torch.Tensor:
    bound = width**-0.5
    return torch.empty(count, width).uniform_(-bound, bound)


def network_of(
    plan: MlpPlan | FtTransformerPlan, inputs: TabularInputs, outputs: int, *, intercept: bool
) -> Mlp | FtTransformer:
    """The network that ``plan`` declares; see the classes."""
    if isinstance(plan, MlpPlan):
        return Mlp(plan, inputs, outputs, intercept=intercept)
    return FtTransformer(plan, inputs, outputs, intercept=intercept)
