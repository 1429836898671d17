# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloister.errors import DeniedError
from cloister.flare import app_check
from cloister.flare.app_check import MAXIMUM_APP_BYTES, ServerAppCheck, SiteAppCheck, files_in
from cloister.flare.job_folder import SERVER_APP, SITE_APP, write_job_folder
from cloister.flare.state import State
from cloister.provisioning import Authority
from cloister.provisioning.revoking import revoke
from cloister.trust import roster_file
from tests.federation_folder import OFFICER, PERSON, SITES, change_document
from tests.flare.signed_jobs import job_of, manifest_of, provisioned, publish_roster


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A signed job, where NVFlare's server unpacks it: in a folder of the server's workspace."""
    root = provisioned(tmp_path)
    job = job_of(root)
    return write_job_folder(job, SITES, manifest_of(root, job), State(root).server / "tiny-triage")


def said(folder: Path) -> str:
    """What a site's check says; it must never claim that the app carries code that may run."""
    problem, information = SiteAppCheck().validate(str(folder / SITE_APP))
    assert information == {}
    return problem


def test_both_sides_accept_their_own_app_and_refuse_the_others(folder: Path) -> None:
    assert said(folder) == ""
    assert ServerAppCheck().validate(str(folder / SERVER_APP)) == ("", {})
    assert SiteAppCheck().validate(str(folder / SERVER_APP))[0]
    assert ServerAppCheck().validate(str(folder / SITE_APP))[0]


def test_the_server_refuses_a_job_whose_signer_left_while_it_waited(folder: Path) -> None:
    root = folder.parents[2]
    assert ServerAppCheck().validate(str(folder / SERVER_APP))[0] == ""
    others = [{"name": OFFICER, "organisation": "institute", "role": "compliance-officer"}]
    change_document(root, "provisioning/federation.yaml", {"people": others})
    publish_roster(root)
    assert "not in the roster" in ServerAppCheck().validate(str(folder / SERVER_APP))[0]


def test_the_server_refuses_a_job_whose_signer_was_revoked_while_it_waited(folder: Path) -> None:
    root = folder.parents[2]
    revoke(Authority.open(State(root).folder / "authority"), PERSON, "left the institute", datetime.now(UTC))
    publish_roster(root)
    assert "revoked" in ServerAppCheck().validate(str(folder / SERVER_APP))[0]


def test_the_server_refuses_every_job_without_a_roster(folder: Path) -> None:
    roster_file(folder.parent).unlink()
    assert ServerAppCheck().validate(str(folder / SERVER_APP))[0]


def test_code_is_refused(folder: Path) -> None:
    (folder / SITE_APP / "custom").mkdir()
    (folder / SITE_APP / "custom" / "x.py").write_text("import os")
    assert said(folder).startswith("the job carries `custom/x.py` (jobs carry a document")


def test_an_empty_custom_folder_is_refused(folder: Path) -> None:
    (folder / SITE_APP / "custom").mkdir()
    assert "custom" in said(folder)


def test_a_link_is_refused_even_to_what_would_be_right(folder: Path, tmp_path: Path) -> None:
    path = folder / SITE_APP / "config" / "job.yaml"
    path.rename(tmp_path / "elsewhere.yaml")
    path.symlink_to(tmp_path / "elsewhere.yaml")
    assert said(folder) == "the job carries something that is not a plain file"


def test_a_linked_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / SITE_APP / "config").rename(tmp_path / "elsewhere")
    (folder / SITE_APP / "config").symlink_to(tmp_path / "elsewhere")
    assert said(folder) == "the job carries something that is not a plain file"


def test_a_link_to_nowhere_is_refused(folder: Path) -> None:
    (folder / SITE_APP / "config" / "x").symlink_to("/nonexistent")
    assert "not a plain file" in said(folder)


def test_a_pipe_is_refused_and_nobody_waits_for_it(folder: Path) -> None:
    os.mkfifo(folder / SITE_APP / "config" / "x")
    assert "not a plain file" in said(folder)


def test_a_socket_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / SITE_APP)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("x")
        assert "not a plain file" in said(folder)


def test_too_much_is_refused_before_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = folder / SITE_APP / "large"
    with large.open("wb") as stream:
        stream.truncate(1 << 40)  # a terabyte of nothing
    assert said(folder) == f"the job is larger than {MAXIMUM_APP_BYTES} bytes"


def test_many_small_files_count_together(folder: Path) -> None:
    for number in range(3):
        (folder / SITE_APP / f"f{number}").write_bytes(bytes(MAXIMUM_APP_BYTES // 2))
    with pytest.raises(DeniedError, match="larger than"):
        files_in(folder / SITE_APP)


def test_a_folder_that_is_not_there_is_refused(folder: Path) -> None:
    assert "lacks" in SiteAppCheck().validate(str(folder / "nothing"))[0]


@pytest.mark.parametrize("error", [KeyError("Ada"), OSError("Ada"), RecursionError("Ada")])
def test_whatever_goes_wrong_inside_denies(folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def stumble(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(app_check, "read_app", stumble)
    assert said(folder) == "the check of the job failed; see the log"
