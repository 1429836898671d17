# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from cloister.errors import TrainerError
from cloister.jobs import layout_of
from cloister.jobs.aggregation import Aggregation
from cloister.jobs.kept_tensors import exchanged_layout, kept_layout
from cloister.messages import Setup
from cloister.training.site_tensors import copies_of, network_shapes, read_site_tensors, write_site_tensors

from ..jobs.tables import job
from .tables import FEATURES, described, setup_of, stays

RULES: dict[str, dict[str, Any]] = {
    "plain": {},
    "personal": {"personal": ("head",)},
    "scaffold": {"client": {"scaffold": {}}},
    "scaffold-and-personal": {"client": {"scaffold": {}}, "personal": ("layers.0",)},
    "ditto": {"client": {"ditto": {"strength": 0.1}}},
}
"""What a job can say of what its sites keep."""


def setup(rule: str) -> Setup:
    the_job, statistics = job(features=FEATURES), described(stays(50))
    layout, aggregation = layout_of(the_job, statistics=statistics), Aggregation.model_validate(RULES[rule])
    update = {
        "client": aggregation.client,
        "shapes": exchanged_layout(aggregation, layout).shapes(),
        "kept": kept_layout(aggregation, layout).shapes(),
    }
    return setup_of(the_job, "view", statistics).model_copy(update=update)  # type: ignore[arg-type]


def arrays(the_setup: Setup) -> dict[str, Any]:
    random = np.random.Generator(np.random.PCG64(1))
    shapes = {**the_setup.shapes, **{f"kept.{name}": shape for name, shape in the_setup.kept.items()}}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in sorted(shapes.items())}


@pytest.mark.parametrize("rule", RULES)
def test_what_is_read_is_what_is_written(rule: str) -> None:
    the_setup = setup(rule)
    blob = safetensors.numpy.save(arrays(the_setup))
    tensors = read_site_tensors(blob, the_setup)
    assert write_site_tensors(tensors, the_setup) == blob
    assert {name: tuple(each.shape) for name, each in tensors.network.items()} == network_shapes(the_setup)
    assert network_shapes(the_setup) == setup("plain").shapes
    assert (tensors.copy is not None) == (rule == "ditto")
    shared = {name for name in the_setup.shapes if not name.startswith("control.")}
    assert set(tensors.control) == set(tensors.own_control) == (shared if "scaffold" in rule else set())


def test_a_copy_may_be_missing_as_a_whole_and_not_in_part() -> None:
    the_setup = setup("ditto")
    sent = arrays(the_setup)
    shared = {name: each for name, each in sent.items() if not name.startswith("kept.")}
    assert read_site_tensors(safetensors.numpy.save(shared), the_setup).copy is None
    del sent["kept.ditto.head.bias"]
    with pytest.raises(TrainerError, match="not those of the job"):
        read_site_tensors(safetensors.numpy.save(sent), the_setup)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "plain"])
@pytest.mark.parametrize("change", ["missing", "extra", "shape", "type", "garbage"])
def test_other_tensors_are_refused(rule: str, change: str) -> None:
    the_setup = setup(rule)
    sent = arrays(the_setup)
    first = next(name for name in sent if name.startswith("kept."))
    if change == "missing":
        del sent[first]  # of a copy a part: as a whole it may be missing
    elif change == "extra":
        sent["kept.more"] = sent[first]
    elif change == "shape":
        sent[first] = sent[first][:1, ...].repeat(99, axis=0)
    elif change == "type":
        sent[first] = sent[first].astype(np.float64)
    with pytest.raises(TrainerError):
        read_site_tensors(b"no tensors" if change == "garbage" else safetensors.numpy.save(sent), the_setup)


def test_copies_are_apart_from_what_they_are_of() -> None:
    tensor = torch.ones(2, requires_grad=True)
    copy = copies_of({"a": tensor})["a"]
    copy += 1
    assert tensor.tolist() == [1.0, 1.0]
    assert not copy.requires_grad
