# SPDX-License-Identifier: Apache-2.0
"""Whole rounds between server and sites, in every way that a job can say, without processes: who has which weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from cloister.documents import Document
from cloister.egress import write_adapter
from cloister.errors import JobError
from cloister.flare.exchange import Ask
from cloister.flare.payload import Payload, content_of, size_of
from cloister.flare.round_weights import RoundWeights
from cloister.flare.site_exchange import SiteExchange
from cloister.jobs import AdapterLayout, Job
from cloister.jobs.adapter import Arrays, TensorSpec
from cloister.jobs.folded_tensors import apart_from_folded
from cloister.jobs.kept_tensors import DITTO, KEPT, exchanged_layout
from cloister.jobs.live_tensors import live_layout
from cloister.wire import Schema, unflatten
from tests.federation_folder import make_federation
from tests.flare.signed_jobs import job_of
from tests.flare.wire_form import encoded

LAYER = "base_model.model.encoder.layer.0.attention.self.query"
A, B = f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight"
SITES = ("alpha", "beta", "gamma")
RECORDS = {"alpha": 10, "beta": 20, "gamma": 70}
SCALE = 2.0  # alpha / rank of the federation's job


def network(rank: int = 2) -> AdapterLayout:
    tensors = (
        TensorSpec(A, (rank, 6), "uniform"),
        TensorSpec(B, (5, rank), "zeros"),
        TensorSpec("base_model.model.classifier.bias", (3,), "zeros"),
        TensorSpec("base_model.model.classifier.weight", (3, 6), "normal"),
    )
    return AdapterLayout(tuple(sorted(tensors, key=lambda tensor: tensor.name)), ("classifier",))


class Job3:
    """One job's two ends: a server and three sites, whose trainers add noise to what they may train."""

    def __init__(self, folder: Path, ranks: dict[str, int] | None = None, **changes: Any) -> None:
        self.document: Document[Job] = job_of(make_federation(folder / "federation"), **changes)
        how = self.document.value.aggregation
        networks = {site: network((ranks or {}).get(site, 2)) for site in SITES}
        layouts = {site: exchanged_layout(how, each) for site, each in networks.items()}
        self.server = RoundWeights(self.document, folder, folder / "work")
        self.server.begin(exchanged_layout(how, network()), layouts, RECORDS)
        self.sites = {site: SiteExchange(self.document, site, networks[site], folder / site) for site in SITES}
        self.number = 0
        self.down: dict[str, int] = {}
        self.seen: dict[str, Arrays] = {}
        self.trained: dict[str, Arrays] = {}

    def requests(self, sites: tuple[str, ...], number: int) -> dict[str, tuple[Ask, Payload]]:
        return {
            site: (Ask(round=number, weights=sent), payload)
            for names, sent, payload in self.server.tasks(sites)
            for site in names
        }

    def round(self, sites: tuple[str, ...] = SITES, by: float = 1e-2) -> None:
        self.number += 1
        self.server.open(self.number)
        self.trained = {}
        for turn, (site, (ask, payload)) in enumerate(sorted(self.requests(sites, self.number).items())):
            exchange = self.sites[site]
            self.down[site] = size_of(payload)
            received, request = exchange.receive(ask, payload)
            self.seen[site] = here = received.arrays()
            client = self.document.value.aggregation.client
            copied = client is not None and client.ditto is not None and DITTO.encode() not in request.read_bytes()
            frozen, seed = exchange.frozen(self.number), 100 * self.number + turn
            answer = folder_of(exchange) / "answer"
            answer.write_bytes(trained(request.read_bytes(), frozen, seed=seed, by=by, copied=copied))
            learnt = exchange.learnt(answer, received, self.number)
            schema = Schema.of(learnt.live)
            vector = learnt.update.block(0)
            update = unflatten(vector, schema)
            self.trained[site] = {name: here[name] + update.get(name, np.zeros_like(here[name])) for name in here}
            encoded = exchange.encoder.encode(vector, schema, exchange.seed(self.number))
            exchange.left(learnt)
            self.server.take(site, RECORDS[site], encoded.content)
        self.server.close_round()

    def receive(self, sites: tuple[str, ...] = SITES) -> dict[str, Arrays]:
        """What the sites have after they were sent the newest weights once more, and what they fold in."""
        found = {}
        for site, (ask, payload) in self.requests(sites, self.number + 1).items():
            _, request = self.sites[site].receive(ask, payload)
            self.server._broadcast.has(site)
            found[site] = dict(safetensors.numpy.load(request.read_bytes()))
        return found


def folder_of(exchange: SiteExchange) -> Path:
    return exchange.outgoing(1).parent


def trained(request: bytes, frozen: str | None, *, seed: int, by: float, copied: bool = False) -> bytes:
    """What a trainer makes of a request: noise on all that it may train."""
    random = np.random.default_rng(seed)
    tensors, _ = apart_from_folded(dict(safetensors.numpy.load(request)))
    still = {"a": A, "b": B}.get(frozen or "")
    moved = {
        name: array if name == still else (array + random.normal(0, by, array.shape)).astype(np.float32)
        for name, array in sorted(tensors.items())
    }
    if copied:  # as a trainer begins its site's own copy
        moved = {f"{KEPT}{DITTO}{name}": array for name, array in moved.items()} | moved
    return write_adapter(moved)


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bfloat16": {"compression": {"up": "bfloat16", "down": "bfloat16"}},
    "int8": {"compression": {"up": "int8", "down": "int8"}},
    "int4": {"compression": {"up": "int4", "down": "int4"}},
    "int4 without feedback": {"compression": {"up": "int4", "down": "int4", "error_feedback": False}},
    "fedit": {"aggregation": {"factors": "fedit"}},
    "ffa-lora": {"aggregation": {"factors": "ffa-lora"}},
    "ffa-lora int4": {"aggregation": {"factors": "ffa-lora"}, "compression": {"up": "int4", "down": "int4"}},
    "rolora": {"aggregation": {"factors": "rolora"}, "compression": {"up": "int8"}},
    "rolora with momentum": {"aggregation": {"factors": "rolora", "server": {"nesterov": {}}}},
    "fedsvd": {"aggregation": {"factors": "fedsvd"}},
    "refactored": {"aggregation": {"factors": "refactored", "server": {"nesterov": {}}}},
    "flora": {"aggregation": {"factors": "flora"}},
    "median": {"aggregation": {"rule": {"median": {}}}, "federation": {"minimum_sites": 3}},
    "trimmed mean": {"aggregation": {"rule": {"trimmed_mean": {"bad_sites": 1}}}, "federation": {"minimum_sites": 3}},
    "geometric median": {
        "aggregation": {"rule": {"geometric_median": {}}, "maximum_norm": 0.05},
        "federation": {"minimum_sites": 3},
    },
    "adam": {"aggregation": {"server": {"adam": {}}}},
    "scaffold": {"aggregation": {"client": {"scaffold": {}}}},
    "ditto": {"aggregation": {"client": {"ditto": {"strength": 0.1}}}},
    "personal": {"aggregation": {"personal": ["classifier"]}},
}


@pytest.mark.parametrize("way", WAYS)
def test_all_sites_have_what_the_server_says_they_have(tmp_path: Path, way: str) -> None:
    job = Job3(tmp_path, **WAYS[way])
    some = SITES if "median" in way or "trimmed" in way else ("alpha", "gamma")  # those need three
    for sites in (SITES, SITES, some, SITES, SITES):
        job.round(sites)
    known = job.server.known.arrays()
    for arrays in job.receive().values():
        for name, array in known.items():
            np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("way", ["plain", "fedit", "ffa-lora", "rolora", "scaffold", "personal"])
def test_the_mean_is_weighted_by_records(tmp_path: Path, way: str) -> None:
    job = Job3(tmp_path, **(WAYS[way] | {"compression": {}}))
    for _ in range(3):
        job.round()
        after = job.server.current.arrays()
        for name in after:
            expected = sum(RECORDS[site] * job.trained[site][name] for site in SITES) / 100
            np.testing.assert_allclose(after[name], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("way", "ranks"), [("ffa-lora", {}), ("rolora", {}), ("fedsvd", {}), ("flora", {}), ("flora", {"beta": 1})]
)
def test_the_merged_weight_is_that_of_the_sum(tmp_path: Path, way: str, ranks: dict[str, int]) -> None:
    """W + s B A after a round is W + the sum of p s B A of the sites, for every rule that is called exact."""
    lora = {"method": {"lora": {"minimum_rank": 1}}} if ranks else {}
    job, folded_before = Job3(tmp_path, ranks, **(WAYS[way] | {"compression": {}} | lora)), np.zeros((5, 6))
    for _ in range(4):
        job.round(by=0.3)
        products = [RECORDS[site] / 100 * job.trained[site][B] @ job.trained[site][A] for site in SITES]
        expected = np.sum(products, axis=0, dtype=np.float64)
        request = job.receive()["alpha"]
        merged = request[B].astype(np.float64) @ request[A]
        if way == "flora":
            merged = request[f"folded.{B}"].astype(np.float64) @ request[f"folded.{A}"]
            expected, folded_before = expected + folded_before, merged
        np.testing.assert_allclose(merged, expected, rtol=1e-4, atol=1e-5)


def test_momentum_of_one_factor_is_not_that_of_the_other(tmp_path: Path) -> None:
    """Factors are trained in turns; what the server remembers of one goes on when its turn comes again."""
    job = Job3(tmp_path, **WAYS["rolora with momentum"])
    momentum = {A: np.zeros((2, 6)), B: np.zeros((5, 2))}
    for name in (B, A, B, A, B):
        before = job.server.current.arrays()
        job.round(by=0.3)
        update = sum(RECORDS[site] / 100 * (job.trained[site][name] - before[name]) for site in SITES)
        momentum[name] = 0.6 * momentum[name] + update
        expected = before[name] + 0.7 * (update + 0.6 * momentum[name])
        np.testing.assert_allclose(job.server.current.arrays()[name], expected, rtol=1e-4, atol=1e-5)


def test_a_factor_that_is_not_trained_travels_once(tmp_path: Path) -> None:
    job = Job3(tmp_path, **WAYS["ffa-lora"])
    job.round()
    first = job.down["alpha"]
    job.round()
    assert first - job.down["alpha"] == 4 * 2 * 6
    before = job.seen["alpha"][A]
    job.round()
    np.testing.assert_array_equal(job.seen["alpha"][A], before)


def test_a_site_that_missed_a_round_is_sent_all_of_it(tmp_path: Path) -> None:
    job = Job3(tmp_path, **WAYS["int4"])
    job.round()
    job.round(("alpha", "beta"))
    kinds = {site: ask.weights.kind for site, (ask, _) in job.requests(SITES, 3).items() if ask.weights}
    assert kinds == {"alpha": "differences", "beta": "differences", "gamma": "whole"}


def test_what_rounding_took_on_the_way_down_comes_later(tmp_path: Path) -> None:
    job = Job3(tmp_path, **WAYS["int4"])
    for _ in range(3):
        job.round(by=0.5)
    for _ in range(12):
        job.round(by=0.0)
    for name, array in job.server.current.arrays().items():
        np.testing.assert_allclose(job.server.known.arrays()[name], array, atol=2e-3)


def test_sites_of_lower_rank_take_part_with_the_largest_directions(tmp_path: Path) -> None:
    lora = {"method": {"lora": {"minimum_rank": 1}}}
    job = Job3(tmp_path, {"beta": 1}, **WAYS["refactored"], **lora)
    for _ in range(3):
        job.round(by=0.3)
    received = job.receive()
    assert received["alpha"][A].shape == (2, 6)
    assert received["beta"][A].shape == (1, 6)
    whole = received["alpha"][B] @ received["alpha"][A]
    left, values, right = np.linalg.svd(whole.astype(np.float64))
    np.testing.assert_allclose(
        received["beta"][B] @ received["beta"][A], values[0] * np.outer(left[:, 0], right[0]), rtol=1e-3, atol=1e-4
    )


def test_a_flora_result_is_of_the_rank_that_was_folded(tmp_path: Path) -> None:
    job = Job3(tmp_path, **WAYS["flora"])
    job.round(by=0.3)
    config = job.server.write_result(tmp_path / "best.safetensors")
    arrays = safetensors.numpy.load_file(tmp_path / "best.safetensors")
    assert arrays[A].shape[0] == next(iter(config["rank_pattern"].values())) == 5
    assert next(iter(config["alpha_pattern"].values())) == pytest.approx(5 * SCALE)


def test_a_site_that_does_not_answer_counts_as_one_whose_control_variate_stays(tmp_path: Path) -> None:
    job = Job3(tmp_path, **WAYS["scaffold"])
    job.round()
    before = job.server.current.arrays()
    job.round(("alpha", "beta"))
    name = f"control.{B}"
    added = sum(RECORDS[site] * (job.trained[site][name] - job.seen[site][name]) for site in ("alpha", "beta")) / 100
    np.testing.assert_allclose(job.server.current.arrays()[name] - before[name], added, rtol=1e-4, atol=1e-6)


def test_a_head_that_stays_at_the_sites_is_none_that_peft_looks_for(tmp_path: Path) -> None:
    job = Job3(tmp_path, **WAYS["personal"])
    job.round()
    assert job.server.write_result(tmp_path / "best.safetensors")["modules_to_save"] is None
    other = Job3(tmp_path / "other")
    other.round()
    assert other.server.write_result(tmp_path / "best.safetensors")["modules_to_save"] == ["classifier"]


def test_a_result_holds_no_control_variates(tmp_path: Path) -> None:
    job = Job3(tmp_path, **WAYS["scaffold"])
    job.round()
    job.server.write_result(tmp_path / "best.safetensors")
    assert set(safetensors.numpy.load_file(tmp_path / "best.safetensors")) == {t.name for t in network().tensors}


@pytest.mark.parametrize("way", WAYS)
def test_what_a_site_may_be_sent_is_bounded_and_enough(tmp_path: Path, way: str) -> None:
    job = Job3(tmp_path, **WAYS[way])
    assert all(0 < each.most_bytes < 8000 for each in job.sites.values())
    for _ in range(4):
        job.round(by=0.3)
        assert {site: size for site, size in job.down.items() if size > job.sites[site].most_bytes} == {}


def test_a_sum_that_is_no_longer_finite_ends_the_job(tmp_path: Path) -> None:
    job, layout = Job3(tmp_path), network()
    largest = encoded({tensor.name: np.full(tensor.shape, 3e38, np.float32) for tensor in layout.tensors}, layout)
    for number in (1, 2):
        job.server.open(number)
        for site in SITES:
            job.server.take(site, 10, largest)
        if number == 1:
            job.server.close_round()
    with pytest.raises(JobError, match="no longer finite"):
        job.server.close_round()
    np.testing.assert_allclose(job.server.current.arrays()[A], np.float32(3e38), rtol=1e-6)


@pytest.mark.parametrize("way", ["refactored", "flora", "fedsvd"])
def test_factors_that_no_product_bears_end_the_job_in_words(tmp_path: Path, way: str) -> None:
    """One site alone can send them: all are finite, and what is made of them is not."""
    job = Job3(tmp_path, **(WAYS[way] | {"compression": {}}))
    job.server.open(1)
    frozen = job.sites["alpha"].frozen(1)
    live = live_layout(network(), frozen)
    largest = encoded({tensor.name: np.full(tensor.shape, 3.4e38, np.float32) for tensor in live.tensors}, live)
    honest = encoded({tensor.name: np.zeros(tensor.shape, np.float32) for tensor in live.tensors}, live)
    for site in SITES:
        job.server.take(site, 10, largest if site == "beta" else honest)
    try:
        job.server.close_round()
        job.server.open(2)
        for site in SITES:
            job.server.take(site, 10, largest)
        job.server.close_round()
    except JobError as error:
        assert str(error)
    else:
        made = [*job.server.current.arrays().values(), *job.server._combined.folding._all.values()]
        assert all(np.isfinite(array).all() for array in made)


def test_a_server_has_nothing_folded_in_where_the_job_does_not_say_so(tmp_path: Path) -> None:
    job = Job3(tmp_path)
    _, sent, payload = job.server.tasks(["alpha"])[0]
    more = write_adapter({A: np.ones((2, 6), np.float32), B: np.ones((5, 2), np.float32)})
    ask = Ask(round=1, weights=sent.model_copy(update={"folded": "all", "folded_bytes": len(more)}))
    with pytest.raises(JobError, match="folds nothing in"):
        job.sites["alpha"].receive(ask, content_of(payload) + more)
