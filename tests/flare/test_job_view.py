# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nvflare.private.defs import ERROR_MSG_PREFIX

from cloister.errors import DeniedError, JobError
from cloister.flare.job_view import failure_of, not_admitted, view_of

BROKEN = "FINISHED:EXECUTION_EXCEPTION"


def meta(status: str, **more: Any) -> dict[str, Any]:
    return {"job_id": "an-id", "name": "triage", "status": status, "submitter_name": "ada@research.example", **more}


def progress(reason: str = "", number: int = 0, *refusing: str, denied: bool = False) -> dict[str, Any]:
    sites = {name: {"reason": f"{name} said no", "denied": denied} for name in refusing}
    return {"reason": reason, "denied": denied, "round": number, "sites": sites}


def written(folder: Path, content: str) -> Path:
    place = folder / "workspace" / "cloister"
    place.mkdir(parents=True)
    (place / "failure.json").write_text(content)
    return folder


def test_sites_that_did_not_admit_are_told_with_their_reasons() -> None:
    said = {"beta": "denied: `purpose`: no", "gamma": "refused: no settings"}
    detail = ["server: OK", "alpha: OK", *(f"{site}: {ERROR_MSG_PREFIX}: {reason}" for site, reason in said.items())]
    view = view_of(meta("FINISHED:FAILED_TO_RUN", job_deploy_detail=detail))
    assert view.refusals == said
    assert (view.finished, view.completed) == (True, False)


def test_sites_that_did_not_admit_for_the_same_reason_are_told_together() -> None:
    refusals = {"gamma": "refused: no settings", "beta": "denied: no", "alpha": "refused: no settings"}
    assert not_admitted("triage", refusals).message == (
        "job `triage` was not admitted by enough sites\n  alpha, gamma: refused: no settings\n  beta: denied: no"
    )
    assert type(not_admitted("triage", refusals)) is DeniedError
    assert type(not_admitted("triage", {"alpha": "refused: no settings"})) is JobError


def test_what_a_server_says_cannot_steer_a_terminal() -> None:
    view = view_of(meta("RUNNING", name="\x1b[2Jtriage"), {"sites": {"al\x1bpha": {"reason": "\x9bno\n"}}})
    assert json.dumps([view.name, view.progress], ensure_ascii=False).isprintable()


@pytest.mark.parametrize(
    ("number", "denied", "kind"),
    [(0, True, DeniedError), (0, False, JobError), (2, True, DeniedError), (2, False, JobError)],
    ids=["denied before training", "broken before training", "denied later", "broken later"],
)
def test_the_reason_that_the_server_wrote(tmp_path: Path, number: int, denied: bool, kind: type[Exception]) -> None:
    location = written(tmp_path, json.dumps(progress("1 of 3 sites are ready", number, "beta", denied=denied)))
    error = failure_of(view_of(meta(BROKEN)), location)
    assert type(error) is kind
    assert error.message == "job `triage` failed: 1 of 3 sites are ready"


@pytest.mark.parametrize(
    "content", ["", "{", "[" * 100_000, "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")]
)
def test_a_reason_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    error = failure_of(view_of(meta(BROKEN)), written(tmp_path, content))
    assert "ended without a result: the server's job process ended with execution exception" in error.message
    assert "log.txt" in error.hint


def test_without_what_the_server_wrote_the_last_progress_seen_tells() -> None:
    error = failure_of(view_of(meta(BROKEN), progress("", 3, "alpha")), None, hint="ask ada")
    assert error.message.endswith("execution exception\n  alpha: alpha said no")
    assert error.hint == "ask ada"
    alike = progress("", 3) | {"sites": {name: {"reason": "it stopped"} for name in ("beta", "alpha")}}
    assert failure_of(view_of(meta(BROKEN), alike), None).message.endswith("exception\n  alpha, beta: it stopped")
    told = failure_of(view_of(meta(BROKEN), progress("2 of 3 sites gave an update", 3)), None)
    assert told.message == "job `triage` failed: 2 of 3 sites gave an update"


def test_a_job_that_ended_with_its_server_is_said_to_be_lost() -> None:
    error = failure_of(view_of(meta("FINISHED:ABANDONED")), None)
    assert error.message == "job `triage` was lost: the server was stopped while it ran"


def test_an_aborted_job_is_said_to_be_that() -> None:
    assert failure_of(view_of(meta("FINISHED:ABORTED")), None).message == "job `triage` was aborted"
