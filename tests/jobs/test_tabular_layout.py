# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings

from cloister.jobs import AdapterLayout, Job, initial_adapter
from cloister.jobs.statistics import CategorySummary, FeatureStatistics, NumberSummary
from cloister.jobs.tabular_inputs import inputs_of
from cloister.jobs.tabular_layout import has_intercept, outputs_of, tabular_layout
from cloister.training.tabular_networks import network_of

from .tables import described_jobs, job

STATISTICS = FeatureStatistics(
    records=100,
    features={
        "age": NumberSummary(present=90, missing=10, mean=50.0, variance=100.0),
        "smoker": CategorySummary(present=100, missing=0, counts={"true": 30, "false": 70}),
        "ward": CategorySummary(present=100, missing=0, counts={"a": 50, "b": 50, "c": None}),
    },
)


@settings(max_examples=60, deadline=None)
@given(described_jobs())
def test_is_exactly_what_the_network_consists_of(drawn: tuple[Job, FeatureStatistics]) -> None:
    the_job, statistics = drawn
    layout = tabular_layout(the_job, statistics)
    network = network_of(
        the_job.architecture.network,  # type: ignore[union-attr,arg-type]
        inputs_of(the_job.dataset.features, statistics),
        outputs_of(the_job.task, len(the_job.dataset.labels)),
        intercept=has_intercept(the_job.task),
    )
    assert layout.shapes() == {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert not list(network.buffers())
    assert [tensor.name for tensor in layout.tensors] == sorted(layout.shapes())
    assert AdapterLayout.from_json(json.loads(json.dumps(layout.to_json()))) == layout


@pytest.mark.parametrize(
    "architecture", [{"mlp": {"hidden": [40, 30]}}, {"ft_transformer": {"width": 32, "layers": 2}}]
)
def test_starts_as_wide_as_pytorch_starts(architecture: dict[str, object]) -> None:
    the_job = job(architecture=architecture)
    start = initial_adapter(tabular_layout(the_job, STATISTICS), 0)
    network = network_of(
        the_job.architecture.network,  # type: ignore[union-attr,arg-type]
        inputs_of(the_job.dataset.features, STATISTICS),
        2,
        intercept=True,
    )
    for name, value in network.state_dict().items():
        if value.ndim == 2:
            bound = math.prod(value.shape[1:]) ** -0.5
            assert abs(start[name]).max() <= bound
            assert float(value.abs().max()) <= bound
            assert start[name].std() == pytest.approx(bound / math.sqrt(3), rel=0.3)
        elif name.endswith(".bias"):
            assert not start[name].any()
        else:
            assert np.array_equal(start[name], value.numpy())  # scales of norms


def test_without_a_hidden_layer_it_is_a_linear_model() -> None:
    layout = tabular_layout(job(architecture={"mlp": {}}), STATISTICS)
    # age and its indicator; true, false, other, missing; a, b, other, missing
    assert layout.shapes() == {"head.weight": (2, 2 + 4 + 4), "head.bias": (2,)}
    assert layout.head_modules == ()  # those are layers that a job adds to a base model
    assert layout.parts == ("model",)


def test_coxs_likelihood_needs_no_intercept() -> None:
    layout = tabular_layout(job("survival", architecture={"mlp": {}}), STATISTICS)
    assert layout.shapes() == {"head.weight": (1, 10)}
