# SPDX-License-Identifier: Apache-2.0
"""How many sites a step of a job needs, and whose fault it is where they are too few."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloister.documents import Document
from cloister.errors import DeniedError, JobError
from cloister.flare.exchange import Refusal, TaskName
from cloister.flare.quorum import check_enough
from cloister.flare.site_progress import SiteProgress
from cloister.jobs import Job
from tests.flare.server_rounds import (
    SITES,
    begun,
    open_rounds,
    opened,
    prepared,
    tensors,
    update_of,
)
from tests.flare.signed_jobs import job_of


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


def test_sites_that_were_hindered_by_the_same_are_told_together(job: Document[Job]) -> None:
    many = {f"site-{number:03d}": SiteProgress(reason="the trainer failed") for number in range(1, 201)}
    with pytest.raises(JobError) as caught:
        check_enough(job.value, many | {"alpha": SiteProgress(reason="none")}, [], "gave an update in round 1")
    assert str(caught.value) == (
        "0 of 201 sites gave an update in round 1, and the job needs 2: "
        "alpha: none; 200 sites (site-001, site-002, site-003, …): the trainer failed"
    )


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


def test_too_few_updates_end_the_job(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    number = opened(rounds)
    rounds.take("alpha", update_of(number), tensors())
    rounds.take("beta", Refusal(denied=True, reason="no"), b"")
    rounds.absent("gamma", "is not reachable")
    with pytest.raises(DeniedError, match="1 of 3 sites gave an update in round 1, and the job needs 2"):
        rounds.finish_round()


def test_a_round_that_nobody_is_left_for_is_named(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    assert rounds.next_round() == 1
    rounds.ask(TaskName.TRAIN, 0, [])
    assert rounds.progress()["round"] == 1
    with pytest.raises(JobError, match="0 of 3 sites gave an update in round 1, and the job needs 2"):
        rounds.finish_round()


def test_a_denial_in_a_round_before_is_none_of_one_that_the_site_is_not_asked_in(
    documents: Path, tmp_path: Path
) -> None:
    rounds = begun(job_of(documents, federation={"sites_per_round": 2, "minimum_sites": 1}), tmp_path)
    for number, asked in ((1, ["alpha", "beta"]), (2, ["beta", "gamma"])):
        assert rounds.next_round() == number
        rounds.ask(TaskName.TRAIN, number, asked)
        if number == 1:
            rounds.take("alpha", Refusal(denied=True, reason="`update-norm`: no"), b"")
            assert rounds.take("beta", update_of(number), tensors())
            rounds.finish_round()
    for site in ("beta", "gamma"):
        rounds.absent(site, "is not reachable")
    with pytest.raises(JobError, match="0 of 3 sites gave an update in round 2") as caught:
        rounds.finish_round()
    assert not isinstance(caught.value, DeniedError)
