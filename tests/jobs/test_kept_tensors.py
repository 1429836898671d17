# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cloister.errors import JobError
from cloister.jobs import AdapterLayout, TensorSpec, initial_adapter
from cloister.jobs.aggregation import Aggregation
from cloister.jobs.kept_tensors import exchanged_layout, first_kept, is_control, kept_layout

LORA = "base_model.model.bert.encoder.layer"
HEAD = "base_model.model.classifier"
LAYOUT = AdapterLayout(
    (
        TensorSpec(f"{LORA}.1.attention.self.query.lora_A.weight", (2, 4), "uniform"),
        TensorSpec(f"{LORA}.1.attention.self.query.lora_B.weight", (4, 2), "zeros"),
        TensorSpec(f"{LORA}.11.attention.self.query.lora_A.weight", (2, 4), "uniform"),
        TensorSpec(f"{LORA}.11.attention.self.query.lora_B.weight", (4, 2), "zeros"),
        TensorSpec(f"{HEAD}.dense.weight", (4, 4), "normal"),
        TensorSpec(f"{HEAD}.out_proj.weight", (3, 4), "normal"),
    ),
    ("classifier",),
    transposed=True,
)
NAMES = [tensor.name for tensor in LAYOUT.tensors]


def said(**aggregation: Any) -> Aggregation:
    return Aggregation.model_validate(aggregation)


def names(layout: AdapterLayout) -> list[str]:
    return [tensor.name for tensor in layout.tensors]


@pytest.mark.parametrize("aggregation", [{}, {"client": {"fedprox": {"mu": 0.1}}}])
def test_plainly_all_is_exchanged_and_nothing_kept(aggregation: dict[str, Any]) -> None:
    assert exchanged_layout(said(**aggregation), LAYOUT) == LAYOUT
    assert kept_layout(said(**aggregation), LAYOUT).tensors == ()
    assert first_kept(said(**aggregation), LAYOUT, 0) == {}


@pytest.mark.parametrize(
    ("layers", "kept"),
    [
        (("classifier",), NAMES[4:]),
        (("out_proj",), NAMES[5:]),
        (("classifier.dense",), NAMES[4:5]),
        (("layer.1",), NAMES[:2]),
        (("self.query",), NAMES[:4]),
        (("lora_B",), [NAMES[1], NAMES[3]]),
        (("layer.11", "dense"), NAMES[2:5]),
    ],
)
def test_personal_layers_by_the_last_parts_of_their_names(layers: tuple[str, ...], kept: list[str]) -> None:
    aggregation = said(personal=layers)
    stays, leaves = kept_layout(aggregation, LAYOUT), exchanged_layout(aggregation, LAYOUT)
    assert names(stays) == kept
    assert names(leaves) == [name for name in NAMES if name not in kept]
    assert leaves.head_modules == LAYOUT.head_modules
    assert leaves.transposed


@pytest.mark.parametrize("layer", ["query.out_proj", "ayer.1", "classifie", "value"])
def test_a_personal_layer_that_there_is_not_is_refused(layer: str) -> None:
    for layout_of in (exchanged_layout, kept_layout):
        with pytest.raises(JobError, match=f"no layer `{layer}`") as caught:
            layout_of(said(personal=(layer,)), LAYOUT)
        assert caught.value.hint == "it trains `dense`, `out_proj`, `query`"


def test_something_must_be_exchanged() -> None:
    with pytest.raises(JobError, match="nothing is left to exchange"):
        exchanged_layout(said(personal=("query", "classifier")), LAYOUT)


@pytest.mark.parametrize("name", ["control.weight", "control_own.a.weight", "ditto.weight", "kept.weight"])
def test_a_network_with_names_of_ours_is_refused(name: str) -> None:
    layout = AdapterLayout((TensorSpec(name, (2,), "zeros"),), ())
    for layout_of in (exchanged_layout, kept_layout):
        with pytest.raises(JobError, match="names others"):
            layout_of(said(), layout)


def test_control_variates_travel_and_the_sites_own_stay() -> None:
    aggregation = said(client={"scaffold": {}}, personal=("classifier",))
    leaves, stays = exchanged_layout(aggregation, LAYOUT), kept_layout(aggregation, LAYOUT)
    assert names(leaves) == sorted([*NAMES[:4], *(f"control.{name}" for name in NAMES[:4])])
    assert names(stays) == sorted([*NAMES[4:], *(f"control_own.{name}" for name in NAMES[:4])])
    assert leaves.shapes()[f"control.{NAMES[0]}"] == (2, 4)
    start = initial_adapter(leaves, 3)
    assert all(not start[name].any() for name in start if is_control(name))
    assert [name for name in start if not is_control(name)] == NAMES[:4]


def test_a_control_variate_is_of_the_part_that_it_belongs_to() -> None:
    leaves = exchanged_layout(said(client={"scaffold": {}}), LAYOUT)
    assert leaves.parts == LAYOUT.parts == ("adapter", "head")
    assert exchanged_layout(said(client={"scaffold": {}}, personal=("classifier",)), LAYOUT).parts == ("adapter",)


def test_a_copy_of_its_own_stays() -> None:
    aggregation = said(client={"ditto": {"strength": 0.1}})
    assert exchanged_layout(aggregation, LAYOUT) == LAYOUT
    assert names(kept_layout(aggregation, LAYOUT)) == [f"ditto.{name}" for name in NAMES]
    with pytest.raises(JobError, match="copy of its own"):
        kept_layout(said(client={"ditto": {"strength": 0.1}}, personal=("classifier",)), LAYOUT)


def test_what_a_tensor_is_added_to_goes_where_the_tensor_goes() -> None:
    tensors = (TensorSpec("a", (1,), "zeros"), TensorSpec("b.c", (1,), "zeros"))
    layout = AdapterLayout(tensors, (), bases=(("a", b"1234"), ("b.c", b"5678")))
    aggregation = said(personal=("b",), client={"scaffold": {}})
    leaves, stays = exchanged_layout(aggregation, layout), kept_layout(aggregation, layout)
    assert [name for name, _ in leaves.bases] == ["a"]
    assert [name for name, _ in stays.bases] == ["b.c"]
    assert AdapterLayout.from_json(leaves.to_json()) == leaves
    assert AdapterLayout.from_json(stays.to_json()) == stays


def test_what_is_kept_first() -> None:
    aggregation = said(client={"scaffold": {}}, personal=("classifier",))
    first = first_kept(aggregation, LAYOUT, 7)
    assert sorted(first) == names(kept_layout(aggregation, LAYOUT))
    shared = initial_adapter(LAYOUT, 7)
    for name, array in first.items():
        assert array.dtype == np.float32
        if name in NAMES:
            assert np.array_equal(array, shared[name])
            assert array.any()
        else:
            assert not array.any()
    assert first_kept(said(client={"ditto": {"strength": 0.1}}), LAYOUT, 7) == {}
