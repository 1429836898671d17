# SPDX-License-Identifier: Apache-2.0
"""What travels behind the weights to be folded in: what is sent of it, and what a site takes over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloister.aggregation.factors import Trained
from cloister.egress import write_adapter
from cloister.errors import JobError
from cloister.flare.exchange import Sent
from cloister.flare.folding import FoldedHere, Folding
from cloister.jobs import AdapterLayout, Job, TensorSpec
from cloister.jobs.adapter import Arrays, read_arrays
from tests.federation_folder import make_federation
from tests.flare.signed_jobs import job_of

A, B = "base_model.model.x.lora_A.weight", "base_model.model.x.lora_B.weight"
LAYOUT = AdapterLayout((TensorSpec(A, (1, 6), "uniform"), TensorSpec(B, (5, 1), "zeros")), ())
WHOLE = Sent(version=1, kind="whole", codec="float32")
STEP = Sent(version=1, kind="values", base=0, codec="float32")
WEIGHTS = b"encoded weights"


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return job_of(make_federation(tmp_path_factory.mktemp("documents")), aggregation={"factors": "flora"}).value


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return job_of(make_federation(tmp_path_factory.mktemp("documents"))).value


def trained(seed: int, site: str = "alpha") -> Trained:
    random = np.random.default_rng(seed)
    return Trained(site, 1.0, {t.name: random.normal(size=t.shape).astype(np.float32) for t in LAYOUT.tensors})


def stack(rank: int = 1, **changes: Any) -> Arrays:
    random = np.random.default_rng(rank)
    sound = {A: random.normal(size=(rank, 6)), B: random.normal(size=(5, rank))}
    return {name: np.asarray(array, np.float32) for name, array in (sound | changes).items()}


def behind(sent: Sent, kind: str, arrays: Arrays, *, cut: int = 0) -> tuple[Sent, bytes]:
    more = write_adapter(arrays)
    return sent.model_copy(update={"folded": kind, "folded_bytes": len(more)}), (WEIGHTS + more)[cut:]


def test_before_the_first_round_nothing_is_sent_behind_the_weights(job: Job) -> None:
    assert Folding(job).behind(WHOLE, WEIGHTS) == (WHOLE, WEIGHTS)


def test_who_has_what_was_before_is_sent_the_last_rounds_stack_and_others_all(job: Job, tmp_path: Path) -> None:
    folding, here, late = Folding(job), FoldedHere(job, LAYOUT), FoldedHere(job, LAYOUT)
    path = tmp_path / "step"
    path.write_bytes(WEIGHTS)
    for number in (1, 2):
        folding.add([trained(number)])
        sent, payload = folding.behind(STEP, path)
        assert sent.folded == "stack"
        assert here.take(sent, payload) == WEIGHTS
    sent, payload = folding.behind(WHOLE, WEIGHTS)
    assert sent.folded == "all"
    assert late.take(sent, payload) == WEIGHTS
    for name in (A, B):
        np.testing.assert_array_equal(here.arrays[name], late.arrays[name])
        assert 2 in here.arrays[name].shape


def test_after_all_was_taken_apart_anew_everybody_is_sent_all(job: Job) -> None:
    folding, here = Folding(job), FoldedHere(job, LAYOUT)
    kinds = []
    for number in range(8):  # the layer has no more than five directions
        folding.add([trained(number)])
        sent, payload = folding.behind(STEP, WEIGHTS)
        kinds.append(sent.folded)
        here.take(sent, payload)
    assert kinds[:5] == ["stack"] * 5
    assert set(kinds[5:]) == {"all"}
    product = sum(each[B].astype(np.float64) @ each[A] for each in (trained(n).arrays for n in range(8)))
    np.testing.assert_allclose(here.arrays[B] @ here.arrays[A], product, rtol=1e-4, atol=1e-5)


def test_what_is_too_large_is_not_folded_in(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    folding = Folding(job)
    folding.add([trained(1)])
    before = folding.behind(WHOLE, WEIGHTS)
    monkeypatch.setattr("cloister.flare.folding.stacked", lambda _: stack(**{A: np.full((1, 6), np.inf)}))
    with pytest.raises(JobError, match="too large"):
        folding.add([trained(2)])
    assert folding.behind(WHOLE, WEIGHTS) == before


@pytest.mark.parametrize("sent", [None, WHOLE, STEP])
def test_where_nothing_is_said_to_lie_behind_the_weights_all_of_it_is_weights(job: Job, sent: Sent | None) -> None:
    here = FoldedHere(job, LAYOUT)
    assert here.take(sent, WEIGHTS) == WEIGHTS
    assert here.arrays == {}


@pytest.mark.parametrize(
    ("kind", "arrays"),
    [
        ("all", {}),
        ("all", {A: stack()[A]}),
        ("all", stack() | {"other": np.zeros(1, np.float32)}),
        ("all", stack(6)),  # a rank that the layer cannot have
        ("all", stack(**{A: np.ones((1, 7))})),
        ("all", stack(**{A: np.full((1, 6), np.nan)})),
        ("all", stack(**{B: np.full((5, 1), np.inf)})),
        ("stack", stack(**{A: np.ones((2, 6))})),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_of_it_kept(job: Job, kind: str, arrays: Arrays) -> None:
    here = FoldedHere(job, LAYOUT)
    here.take(*behind(WHOLE, "all", stack(2)))
    before = {name: array.copy() for name, array in here.arrays.items()}
    with pytest.raises(JobError, match="does not fit"):
        here.take(*behind(STEP, kind, arrays))
    assert here.arrays.keys() == before.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(here.arrays[name], array)


@pytest.mark.parametrize("length", [0, 1, 10**9])
def test_a_length_that_is_not_that_of_what_came_is_refused(job: Job, length: int) -> None:
    here = FoldedHere(job, LAYOUT)
    sent, payload = behind(WHOLE, "all", stack())
    with pytest.raises(JobError):
        here.take(sent.model_copy(update={"folded_bytes": length}), payload)
    assert here.arrays == {}


def test_a_job_that_folds_nothing_takes_nothing_over(plain: Job) -> None:
    here = FoldedHere(plain, LAYOUT)
    with pytest.raises(JobError, match="folds nothing in"):
        here.take(*behind(WHOLE, "all", stack()))
    assert here.most_bytes == 0


def test_what_is_folded_never_takes_more_than_it_may(job: Job) -> None:
    assert len(write_adapter(stack(5))) <= FoldedHere(job, LAYOUT).most_bytes
    assert read_arrays(write_adapter(stack(5))).keys() == {A, B}
