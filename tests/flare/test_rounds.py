# SPDX-License-Identifier: Apache-2.0
"""The server's book-keeping of a job, without NVFlare and without sites."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloister.documents import Document, load, parse
from cloister.egress import write_adapter
from cloister.errors import DeniedError, JobError
from cloister.files import sha256_of
from cloister.flare import round_files
from cloister.flare.exchange import Prepared, Refusal, Settled, TaskName, Update
from cloister.flare.rounds import Rounds
from cloister.jobs import AdapterLayout, Job, initial_adapter
from cloister.jobs.adapter import Arrays, TensorSpec
from cloister.jobs.statistics import FeatureStatistics, Histogram, NumberSummary
from cloister.wire import EncodedVector
from tests.federation_folder import make_federation
from tests.flare.signed_jobs import job_of
from tests.flare.wire_form import encoded
from tests.tabular_federation import TABULAR_JOB, make_tabular_federation

LAYOUT = AdapterLayout((TensorSpec("a", (2, 3), "uniform"), TensorSpec("b", (4,), "zeros")), ("classifier",))
OTHER = AdapterLayout((TensorSpec("a", (2, 4), "uniform"),), ("classifier",))
SITES = ["alpha", "beta", "gamma"]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_federation(tmp_path_factory.mktemp("documents"))


@pytest.fixture
def job(documents: Path) -> Document[Job]:
    return job_of(documents)


def prepared(training: int = 18, validation: int = 6, layout: AdapterLayout = LAYOUT, **changes: Any) -> Prepared:
    announced = Prepared(
        training=training,
        validation=validation,
        view="0" * 64,
        policy="1" * 64,
        sandbox="bubblewrap",
        layout=layout.to_json(),
    )
    return announced.model_copy(update=changes)


def update_of(number: int, *, records: int = 18, **metrics: float) -> Update:
    """A site's answer; measured half of its records right where nothing else is said."""
    sound = Update(round=number, records=records, metrics={"accuracy": 0.5}, restarts=0)
    return sound.model_copy(update={"metrics": metrics}) if metrics else sound


def tensors(fill: float = 0.0, layout: AdapterLayout = LAYOUT) -> bytes:
    return encoded({tensor.name: np.full(tensor.shape, fill, np.float32) for tensor in layout.tensors}, layout)


def with_value(value: float) -> bytes:
    """An update whose sender did not look at its values."""
    sound = tensors(1.5)
    assert sound.endswith(np.float32(1.5).tobytes())
    return sound[:-4] + np.float32(value).tobytes()


def open_rounds(job: Document[Job], folder: Path, *, sites: list[str] | None = None) -> Rounds:
    return Rounds(job, "an-id", SITES if sites is None else sites, folder / "cloister")


def begun(job: Document[Job], folder: Path, training: dict[str, int] | None = None) -> Rounds:
    """Rounds whose sites are prepared, each with its number of training records."""
    counts = training or dict.fromkeys(SITES, 18)
    rounds = open_rounds(job, folder, sites=list(counts))
    rounds.ask(TaskName.PREPARE, 0, rounds.invited)
    for site, count in counts.items():
        assert rounds.take(site, prepared(count), b"")
    rounds.begin()
    return rounds


def opened(rounds: Rounds) -> int:
    """The next round, opened and asked for."""
    number = rounds.next_round()
    assert number is not None
    rounds.ask(TaskName.TRAIN, number, rounds.taking_part)
    return number


def finished(rounds: Rounds, accuracies: list[float], last: float, metric: str = "accuracy") -> dict[str, Any]:
    """Run all rounds with what every site measures in each; returns the result."""
    for value in accuracies:
        number = opened(rounds)
        for site in rounds.taking_part:
            measured = update_of(number, **{metric: value})
            assert rounds.take(site, measured, tensors(1.0)), rounds.progress()
        rounds.finish_round()
    assert rounds.next_round() is None
    rounds.ask(TaskName.EVALUATE, rounds.last + 1, rounds.taking_part)
    for site in rounds.taking_part:
        assert rounds.take(site, update_of(rounds.last + 1, **{metric: last}), b"")
    rounds.finish()
    return dict(json.loads((rounds._files.folder / "result.json").read_text()))


def state(rounds: Rounds, site: str) -> tuple[str, str]:
    entry = rounds.progress()["sites"][site]
    return entry["state"], entry["reason"]


def adapter(rounds: Rounds) -> Arrays:
    return rounds._weights.current.arrays()


# --- getting ready


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


def test_too_few_end_the_job_with_every_reason(job: Document[Job], tmp_path: Path) -> None:
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, SITES)
    rounds.take("alpha", prepared(), b"")
    rounds.take("beta", Refusal(denied=True, reason="`purpose`: no"), b"")
    rounds.absent("gamma", "is not reachable")
    with pytest.raises(DeniedError) as caught:
        rounds.begin()
    expected = "1 of 3 sites are ready, and the job needs 2: beta: `purpose`: no; gamma: is not reachable"
    assert str(caught.value) == expected


def test_a_site_where_something_is_broken_is_no_denial(job: Document[Job], tmp_path: Path) -> None:
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, SITES)
    rounds.take("alpha", prepared(), b"")
    for site in ("beta", "gamma"):
        rounds.take(site, Refusal(denied=False, reason="`records.csv` does not exist"), b"")
    with pytest.raises(JobError, match="1 of 3 sites are ready"):
        rounds.begin()
    assert not any(site["denied"] for site in rounds.progress()["sites"].values())


def test_policies_that_say_no_later_deny_as_well(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    opened(rounds)
    for site in SITES:
        rounds.take(site, Refusal(denied=True, reason="`update-norm`: no"), b"")
    with pytest.raises(DeniedError, match="0 of 3 sites gave an update"):
        rounds.finish_round()


def test_denials_without_which_there_were_too_few_all_the_same_are_no_denial(
    job: Document[Job], tmp_path: Path
) -> None:
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, SITES)
    rounds.take("alpha", Refusal(denied=True, reason="`purpose`: no"), b"")
    for site in ("beta", "gamma"):
        rounds.absent(site, "is not reachable")
    with pytest.raises(JobError, match="0 of 3 sites are ready"):
        rounds.begin()


def test_without_a_refusal_too_few_are_no_denial(job: Document[Job], tmp_path: Path) -> None:
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, SITES)
    for site in SITES:
        rounds.absent(site, "did not answer before the deadline")
    with pytest.raises(JobError, match="0 of 3 sites are ready"):
        rounds.begin()


@pytest.mark.parametrize(
    ("demand", "said"),
    [
        ({"release_minimum_records": 55}, "would rest on 54 records to train on, and the policy of `beta` demands 55"),
        ({"release_minimum_sites": 4}, "would rest on 3 sites, and the policy of `beta` demands 4"),
    ],
)
def test_a_result_that_would_rest_on_too_little_is_not_begun(
    job: Document[Job], tmp_path: Path, demand: dict[str, int], said: str
) -> None:
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, rounds.invited)
    for site in SITES:
        assert rounds.take(site, prepared(18, **(demand if site == "beta" else {})), b"")
    with pytest.raises(DeniedError, match=said):
        rounds.begin()


def test_a_round_that_rests_on_too_little_ends_the_job_before_a_result(job: Document[Job], tmp_path: Path) -> None:
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, rounds.invited)
    for site in SITES:
        assert rounds.take(site, prepared(18, release_minimum_records=54), b"")
    rounds.begin()
    number = opened(rounds)
    for site in SITES[:2]:
        assert rounds.take(site, update_of(number), tensors(1.0))
    rounds.absent("gamma", "did not answer before the deadline")
    with pytest.raises(DeniedError, match="would rest on 36 records to train on, and the policy of `alpha` demands 54"):
        rounds.finish_round()
    assert not (rounds._files.folder / "result.json").exists()


def test_a_site_whose_adapter_has_other_tensors_is_left_out(job: Document[Job], tmp_path: Path) -> None:
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, SITES)
    rounds.take("alpha", prepared(layout=OTHER), b"")
    rounds.take("beta", prepared(), b"")
    rounds.take("gamma", prepared(), b"")
    rounds.begin()
    assert rounds.taking_part == ["beta", "gamma"]
    assert state(rounds, "alpha") == ("refused", "by the server: its adapter has other tensors than most sites'")


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"tensors": []},
        {"tensors": 5, "head_modules": []},
        {"tensors": [["a", [2, -3], "zeros"]], "head_modules": []},
        {"tensors": [["a", [], "zeros"]], "head_modules": []},
        {"tensors": [["a", [2], "exec"]], "head_modules": []},
        {"tensors": [["a", [float("inf")], "zeros"]], "head_modules": []},
        {"tensors": [["a", [float("nan")], "zeros"]], "head_modules": []},
        {"tensors": [None], "head_modules": []},
        {"tensors": [["a", {"x": 1}, "zeros"]], "head_modules": []},
    ],
)
def test_a_layout_that_is_none_ends_one_sites_part_only(
    job: Document[Job], tmp_path: Path, layout: dict[str, Any]
) -> None:
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, SITES)
    assert not rounds.take("alpha", prepared().model_copy(update={"layout": layout}), b"")
    assert state(rounds, "alpha")[0] == "refused"
    assert rounds.take("beta", prepared(), b"")
    assert rounds.take("gamma", prepared(), b"")
    rounds.begin()
    assert rounds.taking_part == ["beta", "gamma"]


def test_a_site_announces_itself_once_and_in_time(job: Document[Job], tmp_path: Path) -> None:
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, SITES)
    assert rounds.take("alpha", prepared(10), b"")
    assert not rounds.take("alpha", prepared(10**9), b"")
    assert rounds.progress()["sites"]["alpha"]["training"] == 10
    rounds.take("beta", prepared(), b"")
    rounds.begin()
    opened(rounds)
    assert not rounds.take("beta", prepared(10**9), b"")
    assert rounds.progress()["sites"]["beta"]["training"] == 18
    assert "in the middle of the job" in state(rounds, "beta")[1]


# --- rounds


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


def test_too_few_updates_end_the_job(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    number = opened(rounds)
    rounds.take("alpha", update_of(number), tensors())
    rounds.take("beta", Refusal(denied=True, reason="no"), b"")
    rounds.absent("gamma", "is not reachable")
    with pytest.raises(DeniedError, match="1 of 3 sites gave an update in round 1, and the job needs 2"):
        rounds.finish_round()


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


def test_a_late_answer_is_counted_and_changes_nothing(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    opened(rounds)
    before = rounds.progress()
    rounds.late("beta")
    rounds.late("a-stranger")
    after = rounds.progress()
    assert after["sites"]["beta"]["late"] == 1
    after["sites"]["beta"]["late"] = 0
    assert after | {"seconds": 0} == before | {"seconds": 0}


def test_what_travelled_is_told_by_site_and_by_round(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    for number, received in ((1, 1000), (2, 1700)):
        assert opened(rounds) == number
        for site in ("alpha", "beta"):
            rounds.take(site, update_of(number), tensors(1.0))
        rounds.travelled({"alpha": (received, 50), "a-stranger": (9, 9)})
        rounds.finish_round()
    progress = rounds.progress()
    assert progress["sites"]["alpha"]["socket"] == {"received": 1700, "sent": 50}
    assert progress["sites"]["beta"]["socket"] is None
    assert [entry["socket"] for entry in progress["history"]] == [
        {"alpha": {"received": 1000, "sent": 50}},
        {"alpha": {"received": 700, "sent": 0}},
    ]


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


# --- measuring and choosing


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


def test_the_mean_of_metrics_is_weighted_by_validation_records(job: Document[Job], tmp_path: Path) -> None:
    rounds = open_rounds(job, tmp_path, sites=["alpha", "beta"])
    rounds.ask(TaskName.PREPARE, 0, rounds.invited)
    rounds.take("alpha", prepared(18, validation=1), b"")
    rounds.take("beta", prepared(18, validation=3), b"")
    rounds.begin()
    number = opened(rounds)
    rounds.take("alpha", update_of(number, accuracy=1.0, train_loss=1.0), tensors())
    rounds.take("beta", update_of(number, accuracy=0.0, train_loss=2.0), tensors())
    rounds.finish_round()
    entry = rounds.progress()["history"][0]
    assert entry["before"] == {"accuracy": 0.25}
    assert entry["before_by_site"] == {"alpha": {"accuracy": 1.0}, "beta": {"accuracy": 0.0}}
    assert entry["train_loss"] == 1.5


# --- what is written


def test_every_rounds_state_lies_beside_its_adapter(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    folder = tmp_path / "cloister"
    for finished_rounds in range(3):
        written = json.loads((folder / "state.json").read_text())
        assert len(written["history"]) == finished_rounds
        assert sha256_of((folder / written["adapter"]).read_bytes()) == written["sha256"]
        assert [path.name for path in folder.glob("adapter-*.safetensors")] == [written["adapter"]]
        if finished_rounds == 2:
            break
        number = opened(rounds)
        for site in SITES:
            rounds.take(site, update_of(number), tensors(1.0))
        rounds.finish_round()
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("error_feedback", [True, False])
def test_the_state_of_weights_that_come_down_rounded_lies_beside_them(
    documents: Path, tmp_path: Path, error_feedback: bool
) -> None:
    job = job_of(documents, compression={"down": "int4", "error_feedback": error_feedback})
    rounds, folder = begun(job, tmp_path), tmp_path / "cloister"
    for _ in range(2):
        number = opened(rounds)
        for site in SITES:
            rounds.take(site, update_of(number), tensors(1.0))
        rounds.finish_round()
        written = json.loads((folder / "state.json").read_text())
        assert sha256_of((folder / written["adapter"]).read_bytes()) == written["sha256"]
        assert {path.name for path in folder.glob("*.safetensors")} == {"best.safetensors", written["adapter"]}


def test_a_server_that_dies_while_it_writes_leaves_the_round_before(
    job: Document[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = begun(job, tmp_path)
    folder = tmp_path / "cloister"
    before = (folder / "state.json").read_bytes()
    number = opened(rounds)
    for site in SITES:
        rounds.take(site, update_of(number), tensors(1.0))
    write = round_files.write_atomically

    def dies(path: Path, content: bytes, **others: Any) -> None:
        if path.name == "state.json":
            raise SystemExit
        write(path, content, **others)

    monkeypatch.setattr(round_files, "write_atomically", dies)
    with pytest.raises(SystemExit):
        rounds.finish_round()
    assert (folder / "state.json").read_bytes() == before
    written = json.loads(before)
    assert sha256_of((folder / written["adapter"]).read_bytes()) == written["sha256"]


def test_a_job_begins_anew_where_one_was_killed(documents: Path, tmp_path: Path) -> None:
    job, ends = job_of(documents, aggregation={"server": {"nesterov": {}}}), []
    for _ in range(2):  # the second time in the same folder, from which nobody removed anything
        rounds = begun(job, tmp_path)
        number = opened(rounds)
        for site in SITES:
            assert rounds.take(site, update_of(number), tensors(1.0))
        rounds.finish_round()
        ends.append((tmp_path / "cloister" / "adapter-0001.safetensors").read_bytes())
        assert any((tmp_path / "cloister-work").iterdir())
    assert ends[0] == ends[1]


def test_the_result_is_a_folder_that_peft_reads(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    result = finished(rounds, [0.1, 0.2], 0.3)
    folder = tmp_path / "cloister"
    blob = (folder / "adapter" / "adapter_model.safetensors").read_bytes()
    assert blob == write_adapter(adapter(rounds))
    assert result["adapter_sha256"] == sha256_of(blob)
    assert result["job_sha256"] == sha256_of(job.text)
    assert result["job"]["job"] == "tiny-triage"
    assert result["phase"] == "completed"
    assert result["after"] == {"accuracy": pytest.approx(0.3)}
    assert sorted(path.name for path in (folder / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    configuration = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert (configuration["r"], configuration["peft_type"]) == (2, "LORA")
    for site in SITES:
        entry = result["sites"][site]
        assert (entry["rounds"], entry["bytes"], entry["training"]) == (2, 2 * len(tensors()), 18)


def test_the_chosen_adapter_is_the_one_that_was_measured(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    first = write_adapter(adapter(rounds))
    finished(rounds, [0.9, 0.2], 0.3)
    assert (tmp_path / "cloister" / "adapter" / "adapter_model.safetensors").read_bytes() == first


def test_a_failure_is_written_with_its_reason(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    rounds.fail("1 of 3 sites gave an update")
    written = json.loads((tmp_path / "cloister" / "failure.json").read_text())
    assert (written["phase"], written["reason"]) == ("failed", "1 of 3 sites gave an update")
    assert not (tmp_path / "cloister" / "result.json").exists()


def test_progress_is_plain_json_at_any_time(job: Document[Job], tmp_path: Path) -> None:
    rounds = open_rounds(job, tmp_path)
    for _ in range(2):
        assert json.loads(json.dumps(rounds.progress(), allow_nan=False))["rounds"] == 2
        rounds.ask(TaskName.PREPARE, 0, SITES)


def test_a_round_that_is_not_open_cannot_be_closed_or_filled(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    with pytest.raises(JobError, match="no round is open"):
        rounds.finish_round()
    with pytest.raises(JobError, match="not agreed"):
        open_rounds(job, tmp_path / "other").next_round()


DESCRIBED = FeatureStatistics(
    records=24,
    features={
        "age": NumberSummary(
            present=24,
            missing=0,
            mean=50.0,
            variance=4.0,
            histogram=Histogram(edges=(0.0, 50.0, 100.0), counts=(10, 14)),
        )
    },
)


def describing(folder: Path) -> Rounds:
    """Rounds of a job that asks for one column in two bins, while its sites prepare."""
    tree = {
        "job": "look",
        "purpose": "care",
        "task": "statistics",
        "dataset": {"name": "stays", "features": ["age"], "histograms": {"age": {"low": 0, "high": 100, "count": 2}}},
        "federation": {"minimum_sites": 2},
    }
    rounds = open_rounds(parse(json.dumps(tree).encode(), Job, name="look.yaml"), folder)
    rounds.ask(TaskName.PREPARE, 0, rounds.invited)
    return rounds


def describe(rounds: Rounds, site: str, **changes: Any) -> bool:
    age = DESCRIBED.features["age"].model_copy(update=changes.pop("age", {}))
    said = DESCRIBED.model_copy(update={"features": {"age": age}, **changes})
    return rounds.take(site, prepared(layout=LAYOUT).model_copy(update={"layout": None, "statistics": said}), b"")


@pytest.mark.parametrize(
    "changes",
    [
        {"records": 23},
        {"records": 25},
        {"features": {}},
        {"age": {"histogram": None}},
        {"age": {"histogram": Histogram(edges=(0.0, 100.0), counts=(24,))}},
        {"age": {"present": 20}},
    ],
)
def test_a_site_that_describes_something_else_does_not_end_the_others_job(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    rounds = describing(tmp_path)
    assert not describe(rounds, "alpha", **changes)
    assert state(rounds, "alpha") == (
        "refused",
        "by the server: the site describes other records or features than the job's",
    )
    assert describe(rounds, "beta")
    assert describe(rounds, "gamma")
    assert rounds.pool().records == 48


def test_numbers_too_large_to_be_added_up_end_a_job_with_a_reason(tmp_path: Path) -> None:
    rounds = describing(tmp_path)
    for site, mean in zip(SITES, (1e308, -1e308, 1e308), strict=True):
        assert describe(rounds, site, age={"mean": mean})
    with pytest.raises(JobError, match="too large to be added up"):
        rounds.pool()


@pytest.mark.parametrize("lost", ["refused", "absent"])
def test_a_site_that_described_its_features_and_is_not_ready_is_asked_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    root = make_tabular_federation(tmp_path / "federation")
    rounds = open_rounds(load(root / "jobs" / f"{TABULAR_JOB}.yaml", Job), tmp_path)
    monkeypatch.setattr("cloister.flare.rounds.answers", lambda *_: True)  # which columns there are does not matter
    rounds.ask(TaskName.PREPARE, 0, rounds.invited)
    assert all(describe(rounds, site) for site in SITES)
    rounds.pool()
    rounds.ask(TaskName.SETTLE, 0, rounds.taking_part)
    for site in ("alpha", "beta"):
        assert rounds.take(site, Settled(layout=LAYOUT.to_json()), b"")
    if lost == "refused":
        rounds.take("gamma", Refusal(denied=False, reason="the trainer cannot be started"), b"")
    else:
        rounds.absent("gamma", "did not answer before the deadline")
    reason = state(rounds, "gamma")
    rounds.begin()
    number = rounds.next_round()
    assert number == 1
    assert rounds.taking_part == rounds.asked(number) == ["alpha", "beta"]
    assert [task.sites for task in rounds.tasks(number, rounds.asked(number))] == [("alpha", "beta")]
    rounds.ask(TaskName.TRAIN, number, rounds.asked(number))
    assert state(rounds, "gamma") == reason


# --- how much a site may have to send


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
