# SPDX-License-Identifier: Apache-2.0
"""The server's book-keeping of a job, without NVFlare and without sites."""

from __future__ import annotations

import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloister.documents import Document
from cloister.errors import JobError
from cloister.flare.exchange import Refusal, TaskName
from cloister.flare.round_weights import RoundWeights
from cloister.jobs import Job, initial_adapter
from cloister.wire import EncodedVector
from tests.flare.server_rounds import (
    LAYOUT,
    OTHER,
    SITES,
    adapter,
    begun,
    finished,
    open_rounds,
    opened,
    prepared,
    state,
    tensors,
    update_of,
    with_value,
)
from tests.flare.signed_jobs import job_of
from tests.flare.wire_form import encoded


def test_enough_sites_begin_and_the_first_adapter_is_the_seeds(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    first = initial_adapter(LAYOUT, job.value.training.seed)
    for name, value in adapter(rounds).items():
        np.testing.assert_array_equal(value, first[name])
    assert rounds.taking_part == SITES


def test_k_of_n_are_enough(job: Document[Job], tmp_path: Path) -> None:
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, SITES)
    assert rounds.take("alpha", prepared(), b"")
    assert not rounds.take("beta", Refusal(denied=True, reason="`purpose`: no"), b"")
    assert rounds.take("gamma", prepared(), b"")
    rounds.begin()
    assert rounds.taking_part == ["alpha", "gamma"]


def test_a_site_whose_adapter_has_other_tensors_is_left_out(job: Document[Job], tmp_path: Path) -> None:
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, SITES)
    rounds.take("alpha", prepared(layout=OTHER), b"")
    rounds.take("beta", prepared(), b"")
    rounds.take("gamma", prepared(), b"")
    rounds.begin()
    assert rounds.taking_part == ["beta", "gamma"]
    assert state(rounds, "alpha") == ("refused", "by the server: its adapter has other tensors than most sites'")


def test_updates_are_weighted_by_records(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path, {"alpha": 10, "beta": 30})
    before = adapter(rounds)
    number = opened(rounds)
    assert rounds.take("alpha", update_of(number, records=10), tensors(1.0))
    assert rounds.take("beta", update_of(number, records=30), tensors(2.0))
    rounds.finish_round()
    for name, value in adapter(rounds).items():
        np.testing.assert_allclose(value - before[name], 1.75, rtol=1e-6)


@pytest.mark.parametrize("claimed", [19, 10**9, 2**53], ids=["one", "many", "most"])
def test_a_site_cannot_claim_more_records_than_it_announced(job: Document[Job], tmp_path: Path, claimed: int) -> None:
    rounds = begun(job, tmp_path)
    number = opened(rounds)
    assert not rounds.take("alpha", update_of(number, records=claimed), tensors(1e6))
    assert "announced 18" in state(rounds, "alpha")[1]
    rounds.take("beta", update_of(number), tensors(0.0))
    rounds.take("gamma", update_of(number), tensors(0.0))
    before = adapter(rounds)
    rounds.finish_round()
    for name, value in adapter(rounds).items():
        np.testing.assert_array_equal(value, before[name])


def test_an_update_of_no_records_is_refused(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    assert not rounds.take("alpha", update_of(opened(rounds), records=0), tensors())


@pytest.mark.parametrize("number", [0, 2, 3, 10**9])
def test_an_update_of_another_round_is_refused(job: Document[Job], tmp_path: Path, number: int) -> None:
    rounds = begun(job, tmp_path)
    opened(rounds)
    assert not rounds.take("alpha", update_of(number), tensors())
    assert state(rounds, "alpha") == ("refused", "by the server: the update is of another round")


@pytest.mark.parametrize(
    "blob",
    [with_value(np.nan), with_value(np.inf), tensors(layout=OTHER), b"", b"junk", tensors()[:-1], tensors() + b"0"],
)
def test_a_bad_update_ends_one_sites_part_in_one_round_only(job: Document[Job], tmp_path: Path, blob: bytes) -> None:
    rounds = begun(job, tmp_path)
    number = opened(rounds)
    assert not rounds.take("alpha", update_of(number), blob)
    assert state(rounds, "alpha")[0] == "refused"
    assert rounds.take("beta", update_of(number), tensors())
    assert rounds.take("gamma", update_of(number), tensors())
    rounds.finish_round()
    assert rounds.progress()["history"][0]["sites"] == ["beta", "gamma"]
    assert np.isfinite(np.concatenate([value.ravel() for value in adapter(rounds).values()])).all()
    assert rounds.take("alpha", update_of(opened(rounds)), tensors())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1, 1e300])
def test_a_metric_that_cannot_be_is_refused_with_its_update(job: Document[Job], tmp_path: Path, value: float) -> None:
    rounds = begun(job, tmp_path)
    before = adapter(rounds)
    number = opened(rounds)
    assert not rounds.take("alpha", update_of(number, accuracy=value), tensors(9.0))
    rounds.take("beta", update_of(number), tensors())
    rounds.take("gamma", update_of(number), tensors())
    rounds.finish_round()
    for name, kept in adapter(rounds).items():
        np.testing.assert_array_equal(kept, before[name])


def test_metrics_of_other_names_are_forgotten(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    rounds.take("alpha", update_of(opened(rounds), accuracy=0.5, names=7.0), tensors())
    assert "names" not in json.dumps(rounds.progress())


def test_a_site_answers_once(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    before = adapter(rounds)
    number = opened(rounds)
    assert rounds.take("alpha", update_of(number), tensors(0.0))
    for _ in range(50):
        assert not rounds.take("alpha", update_of(number), tensors(1.0))
    rounds.take("beta", update_of(number), tensors(0.0))
    rounds.finish_round()
    for name, kept in adapter(rounds).items():
        np.testing.assert_array_equal(kept, before[name])
    assert rounds.progress()["sites"]["alpha"]["rounds"] == 1


def test_an_answer_after_the_deadline_is_not_taken(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    number = opened(rounds)
    rounds.absent("alpha", "did not answer before the deadline")
    assert not rounds.take("alpha", update_of(number), tensors(1.0))
    assert state(rounds, "alpha") == ("absent", "did not answer before the deadline")


def test_a_site_that_never_announced_itself_cannot_update(job: Document[Job], tmp_path: Path) -> None:
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, SITES)
    rounds.take("beta", prepared(), b"")
    rounds.take("gamma", prepared(), b"")
    rounds.begin()
    assert rounds.next_round() == 1
    rounds.ask(TaskName.TRAIN, 1, SITES)
    assert not rounds.take("alpha", update_of(1), tensors())
    assert "without having announced" in state(rounds, "alpha")[1]


def test_an_exception_of_any_kind_ends_one_sites_part_only(
    job: Document[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = begun(job, tmp_path)
    number = opened(rounds)

    def stumble(*arguments: object) -> None:
        raise KeyError("Ada Lovelace")

    with monkeypatch.context() as patched:
        patched.setattr(EncodedVector, "check", stumble)
        assert not rounds.take("alpha", update_of(number), tensors())
    assert state(rounds, "alpha") == ("refused", "by the server: its answer cannot be understood")
    assert rounds.take("beta", update_of(number), tensors())


def test_what_a_site_says_cannot_steer_a_terminal(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    opened(rounds)
    rounds.take("alpha", Refusal(denied=True, reason="no\n\x1b[2J\x1b]0;owned\x07\u202e!"), b"")
    assert state(rounds, "alpha")[1] == "no  [2J ]0;owned  !"


def test_updates_lie_in_files_until_their_round_is_over(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    number, folder = opened(rounds), tmp_path / "cloister-work" / "updates"
    came = tmp_path / "came"
    came.write_bytes(tensors(1.0))
    assert rounds.take("alpha", update_of(number), came)
    assert rounds.take("beta", update_of(number), tensors(2.0))
    assert not came.exists()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"alpha": tensors(1.0), "beta": tensors(2.0)}
    assert folder.stat().st_mode & 0o777 == 0o700
    rounds.finish_round()
    assert list(folder.iterdir()) == []


def test_a_file_of_an_answer_that_does_not_count_is_removed(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    number = opened(rounds)
    for site, content in (("alpha", b"junk"), ("alpha", tensors()), ("nobody", tensors())):
        came = tmp_path / "came"
        came.write_bytes(content)
        if site in SITES:
            assert not rounds.take(site, update_of(number), came)
        else:
            with pytest.raises(KeyError):
                rounds.take(site, update_of(number), came)
        assert not came.exists()


def test_in_which_order_updates_come_does_not_show(job: Document[Job], tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    updates = {
        site: encoded({t.name: random.normal(size=t.shape).astype(np.float32) for t in LAYOUT.tensors}, LAYOUT)
        for site in SITES
    }
    digests = set()
    for turn, order in enumerate(itertools.permutations(SITES)):
        rounds = begun(job, tmp_path / str(turn), {"alpha": 3, "beta": 7, "gamma": 11})
        number = opened(rounds)
        for site in order:
            records = {"alpha": 3, "beta": 7, "gamma": 11}[site]
            assert rounds.take(site, update_of(number, records=records), updates[site])
        rounds.finish_round()
        digests.add(rounds._weights.current.digest())
    assert len(digests) == 1


def test_only_sites_that_were_asked_count_in_a_round(documents: Path, tmp_path: Path) -> None:
    rounds = begun(job_of(documents, federation={"sites_per_round": 2}), tmp_path)
    for _ in range(2):
        number = rounds.next_round()
        assert number is not None
        asked = rounds.asked(number)
        assert len(asked) == 2
        rounds.ask(TaskName.TRAIN, number, asked)
        (other,) = set(SITES) - set(asked)
        assert state(rounds, other) == ("not asked", "")
        assert not rounds.take(other, update_of(number), tensors(9.0))
        for site in asked:
            assert rounds.take(site, update_of(number), tensors(1.0))
        rounds.finish_round()
        assert rounds.progress()["history"][-1]["sites"] == asked
    assert rounds.taking_part == SITES


def test_a_round_is_over_when_enough_sites_have_answered(documents: Path, tmp_path: Path) -> None:
    rounds = begun(job_of(documents, federation={"enough_sites": 2}), tmp_path)
    number = opened(rounds)
    assert not rounds.is_enough()
    rounds.take("alpha", update_of(number), tensors(1.0))
    rounds.take("beta", Refusal(denied=True, reason="no"), b"")
    assert not rounds.is_enough()
    rounds.take("gamma", update_of(number), tensors(1.0))
    assert rounds.is_enough()
    rounds.finish_round()
    rounds.ask(TaskName.EVALUATE, 3, SITES)
    assert not rounds.is_enough()


def test_a_job_that_waits_for_all_never_has_enough(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    number = opened(rounds)
    for site in SITES:
        rounds.take(site, update_of(number), tensors(1.0))
    assert not rounds.is_enough()


def test_what_sites_are_sent_differs_by_what_they_have(documents: Path, tmp_path: Path) -> None:
    rounds = begun(job_of(documents, compression={"down": "int8"}), tmp_path)
    number = opened(rounds)
    (task,) = rounds.tasks(number, SITES)
    assert (task.sites, task.ask.weights and task.ask.weights.kind) == (tuple(SITES), "whole")
    for site in ("alpha", "beta"):
        rounds.take(site, update_of(number), tensors(1.0))
    rounds.absent("gamma", "did not answer before the deadline")
    rounds.finish_round()
    number = opened(rounds)
    kinds = {task.sites: task.ask.weights.kind for task in rounds.tasks(number, SITES) if task.ask.weights}
    assert kinds == {("alpha", "beta"): "differences", ("gamma",): "whole"}


def test_tensors_in_an_answer_to_evaluate_are_refused(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    rounds.ask(TaskName.EVALUATE, 3, SITES)
    assert not rounds.take("alpha", update_of(3), tensors())
    assert "tensors where none were asked for" in state(rounds, "alpha")[1]
    assert not rounds.take("beta", update_of(1), b"")
    assert rounds.take("gamma", update_of(3), b"")


@pytest.mark.parametrize(
    ("measured", "last", "chosen"),
    [
        ([0.1, 0.2], 0.3, 2),  # what the first round's adapter measured arrives with round 2
        ([0.1, 0.9], 0.3, 1),
        ([0.9, 0.2], 0.3, 0),
        ([0.5, 0.5], 0.5, 0),  # of equals the earliest
    ],
)
def test_the_adapter_that_measured_best_is_chosen(
    job: Document[Job], tmp_path: Path, measured: list[float], last: float, chosen: int
) -> None:
    result = finished(begun(job, tmp_path), measured, last)
    assert result["chosen"] == {"round": chosen, "metric": "accuracy", "value": pytest.approx(max(*measured, last))}


@pytest.mark.parametrize(("measured", "last", "chosen"), [([1.4, 1.1], 1.2, 1), ([0.3, 1.1], 1.2, 0), ([9, 8], 7, 2)])
def test_the_smallest_loss_is_chosen(
    documents: Path, tmp_path: Path, measured: list[float], last: float, chosen: int
) -> None:
    job = job_of(documents, select_by={"metric": "loss", "mode": "minimum"})
    result = finished(begun(job, tmp_path), measured, last, "loss")
    assert result["chosen"] == {"round": chosen, "metric": "loss", "value": pytest.approx(min(*measured, last))}


def test_a_last_round_measured_by_too_few_is_not_chosen(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    for _ in range(2):
        number = opened(rounds)
        for site in SITES:
            rounds.take(site, update_of(number, accuracy=0.4), tensors(1.0))
        rounds.finish_round()
    rounds.ask(TaskName.EVALUATE, 3, SITES)
    rounds.take("alpha", update_of(3, accuracy=1.0), b"")
    rounds.finish()
    result = json.loads((tmp_path / "cloister" / "result.json").read_text())
    assert result["chosen"]["round"] == 0
    assert result["after_by_site"] == {"alpha": {"accuracy": 1.0}}


def test_without_the_metric_nothing_can_be_chosen(job: Document[Job], tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no site may tell `accuracy`"):
        finished(begun(job, tmp_path), [1.0, 1.0], 1.0, "loss")


def test_a_round_that_is_not_open_cannot_be_closed_or_filled(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    with pytest.raises(JobError, match="no round is open"):
        rounds.finish_round()
    with pytest.raises(JobError, match="not agreed"):
        open_rounds(job, tmp_path / "other").next_round()


def test_a_site_has_no_more_to_send_than_its_update_takes(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    assert rounds.most_from("alpha") == 0
    opened(rounds)
    assert rounds.most_from("alpha") == len(tensors()) == 22 + 4 + LAYOUT.bytes
    assert rounds.most_from("nobody") == 0
    for site in SITES:
        rounds.take(site, update_of(1), tensors())
    rounds.finish_round()
    assert rounds.most_from("alpha") == 0
    rounds.ask(TaskName.EVALUATE, rounds.last + 1, rounds.taking_part)
    assert rounds.most_from("alpha") == 0


# --- while something takes long


@pytest.mark.parametrize("work", ["combine", "check"])
def test_people_are_answered_while_large_updates_are_looked_at(
    job: Document[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    rounds = begun(job, tmp_path)
    number = opened(rounds)
    assert all(rounds.take(site, update_of(number), tensors(1.0)) for site in SITES[:2])
    begun_with_it, go_on = threading.Event(), threading.Event()
    place, name = (RoundWeights, "close_round") if work == "combine" else (EncodedVector, "check")
    does = getattr(place, name)

    def slowly(self: Any) -> None:
        begun_with_it.set()
        assert go_on.wait(30)
        does(self)

    monkeypatch.setattr(place, name, slowly)
    with ThreadPoolExecutor(2) as pool:
        try:
            if work == "combine":
                done = pool.submit(rounds.finish_round)
            else:
                done = pool.submit(rounds.take, "gamma", update_of(number), tensors(1.0))
            assert begun_with_it.wait(30)
            told = pool.submit(rounds.progress).result(timeout=10)
        finally:
            go_on.set()
        done.result(timeout=30)
    assert (told["phase"], told["round"], told["history"]) == ("training", 1, [])
    assert [told["sites"][site]["state"] for site in SITES] == ["done", "done", "training"]
    assert len(rounds.progress()["history"]) == (1 if work == "combine" else 0)
    assert rounds.progress()["sites"]["gamma"]["state"] == ("training" if work == "combine" else "done")
