# SPDX-License-Identifier: Apache-2.0
"""What stays at a site between rounds, and what is forgotten where an update did not leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from safetensors.numpy import load_file

from cloister.errors import EgressError, JobError
from cloister.flare.exchange import Ask
from cloister.flare.site_exchange import Learnt, SiteExchange, opened
from cloister.jobs import AdapterLayout, TensorSpec
from cloister.jobs.adapter import Arrays
from cloister.jobs.kept_tensors import DITTO, KEPT
from cloister.wire import Schema, unflatten
from tests.federation_folder import make_federation
from tests.flare.signed_jobs import job_of
from tests.flare.wire_form import first, whole

A, B, HEAD = "base_model.model.x.lora_A.weight", "base_model.model.x.lora_B.weight", "base_model.model.classifier.bias"
NETWORK = AdapterLayout(
    (TensorSpec(HEAD, (3,), "zeros"), TensorSpec(A, (2, 6), "uniform"), TensorSpec(B, (5, 2), "zeros")), ("classifier",)
)
DITTO_JOB = {"aggregation": {"client": {"ditto": {"strength": 0.1}}}}


def site(folder: Path, name: str = "alpha", **changes: Any) -> SiteExchange:
    return SiteExchange(job_of(make_federation(folder / name), **changes), name, NETWORK, folder / name / "tensors")


def learnt(exchange: SiteExchange, *, by: float = 0.01, copied: bool = False) -> Learnt:
    """What a trainer that adds ``by`` to everything gives back in round 1."""
    received, request = exchange.receive(whole(1), first(exchange.layout))
    arrays = {name: array + np.float32(by) for name, array in load_file(request).items()}
    if copied:
        arrays |= {f"{KEPT}{DITTO}{name}": array for name, array in arrays.items() if not name.startswith(KEPT)}
    return exchange.learnt(answered(exchange, safetensors.numpy.save(arrays)), received, 1)


def answered(exchange: SiteExchange, blob: bytes) -> Path:
    """The file that the trainer's ``blob`` is read into."""
    path = exchange.outgoing(1).with_name("answer")
    path.write_bytes(blob)
    return path


def update_of(what: Learnt) -> Arrays:
    schema = Schema.of(what.live)
    return unflatten(what.update.block(0), schema)


def encoded(exchange: SiteExchange, what: Learnt) -> bytes:
    schema = Schema.of(what.live)
    return exchange.encoder.encode(what.update.block(0), schema, exchange.seed(1)).content


def test_before_the_tensors_are_known_there_is_no_exchange(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="before the site was ready"):
        opened(None)
    exchange = site(tmp_path)
    assert opened(exchange) is exchange


def test_an_update_is_what_was_added(tmp_path: Path) -> None:
    update = update_of(learnt(site(tmp_path)))
    assert set(update) == {A, B, HEAD}
    for array in update.values():
        np.testing.assert_allclose(array, 0.01, rtol=1e-4)


def test_a_factor_that_is_not_trained_does_not_leave(tmp_path: Path) -> None:
    what = learnt(site(tmp_path, aggregation={"factors": "ffa-lora"}))
    assert set(update_of(what)) == {tensor.name for tensor in what.live.tensors} == {B, HEAD}


def test_what_is_kept_is_the_sites_only_once_its_update_left(tmp_path: Path) -> None:
    exchange = site(tmp_path, **DITTO_JOB)
    before = exchange.personal()
    what = learnt(exchange, copied=True)
    exchange.stayed()
    assert exchange.personal().keys() == before.keys()
    exchange.left(what)
    assert set(exchange.personal()) == {A, B, HEAD}
    _, request = exchange.receive(whole(1), first(exchange.layout))
    assert {f"{KEPT}{DITTO}{name}" for name in (A, B, HEAD)} <= set(load_file(request))


def test_one_round_s_update_never_lies_under_another_s_name(tmp_path: Path) -> None:
    exchange = site(tmp_path)
    first_one = exchange.outgoing(1)
    first_one.write_bytes(b"passed the gate")
    assert exchange.outgoing(2) != first_one
    assert not first_one.exists()  # it has been sent, or comes too late


def test_what_rounding_took_of_an_update_that_stayed_is_added_to_no_other(tmp_path: Path) -> None:
    exchange, other = (site(tmp_path, name, compression={"up": "int4"}) for name in ("alpha", "beta"))
    other._site = "alpha"
    sent = [encoded(exchange, learnt(exchange)) for _ in range(2)]
    assert sent[0] != sent[1]  # what the first left over is in the second
    encoded(other, learnt(other, by=0.5))
    other.stayed()
    assert encoded(other, learnt(other)) == sent[0]


def test_rounding_is_drawn_anew_for_each_round_and_site_and_the_same_wherever_a_job_runs(tmp_path: Path) -> None:
    one, again, beta = site(tmp_path / "one"), site(tmp_path / "two"), site(tmp_path / "one", "beta")
    assert one.seed(1) == again.seed(1)
    assert len({one.seed(1), one.seed(2), beta.seed(1), beta.seed(2)}) == 4


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "nan", "junk"])
def test_what_is_not_exactly_the_jobs_tensors_stays(tmp_path: Path, change: str) -> None:
    exchange = site(tmp_path)
    received, request = exchange.receive(whole(1), first(exchange.layout))
    arrays = dict(load_file(request))
    if change == "missing":
        del arrays[A]
    elif change == "extra":
        arrays["record"] = np.zeros(1, np.float32)
    elif change == "shape":
        arrays[A] = arrays[A].T.copy()
    else:
        arrays[A] = np.full_like(arrays[A], np.nan)
    blob = b"junk" if change == "junk" else safetensors.numpy.save(arrays)
    with pytest.raises(EgressError):
        exchange.learnt(answered(exchange, blob), received, 1)


def test_a_task_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="without weights"):
        site(tmp_path).receive(Ask(round=1), b"")
