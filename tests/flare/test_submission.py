# SPDX-License-Identifier: Apache-2.0
"""What the server reads of a job that is sent to it; in processes of their own, as what is changed is NVFlare's."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cloister.flare.state import State
from cloister.flare.submission import refusal_of
from cloister.flare.submitted_job import refusal_of_job
from tests.federation_folder import PERSON
from tests.flare.signed_jobs import files_of_folder, job_folder, job_of, provisioned, zip_of
from tests.zip_bombs import bomb, peak_of

_META = {"name": "j", "deploy_map": {"a": ["server", "alpha"]}}

_SCRIPT = """
import sys
from pathlib import Path
from nvflare.private.fed.server.job_meta_validator import JobMetaValidator
from cloister.flare.submission import limit_submissions, read_json_only
if sys.argv[2] == "ours":
    read_json_only()
    limit_submissions(Path(sys.argv[3]))
print(JobMetaValidator().validate("j", sys.argv[1]))
"""

_SUBMIT = """
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from nvflare.apis.fl_context import FLContext
from nvflare.fuel.hci.conn import Connection
from nvflare.fuel.hci.server.constants import ConnProps
from nvflare.private.fed.server.job_cmds import JobCommandModule
from cloister.flare.submission import limit_submissions, read_json_only
read_json_only()
limit_submissions(Path(sys.argv[3]))
conn = Connection(SimpleNamespace(new_context=lambda: nullcontext(FLContext()), job_def_manager=None))
conn.set_prop(ConnProps.FILE_LOCATION, sys.argv[1])
conn.set_prop(ConnProps.USER_NAME, sys.argv[2])
JobCommandModule().submit_job(conn, ["submit_job", "j"])
print(conn.buffer.encode())
"""

_TAKEN = "job_def_manager in engine is not of type"  # the server's next step, for which this process has nothing


def _validated(job: Path, whose: str, root: Path = Path("/nowhere")) -> str:
    """What NVFlare makes of the archive `job`, with our limits or without, at the server of the federation `root`."""
    return _done(_SCRIPT, job, whose, root)


def _submitted(job: Path, sender: str, root: Path) -> str:
    """What NVFlare's server answers to a session of ``sender`` that submits the archive `job`."""
    return _done(_SUBMIT, job, sender, root)


def _done(script: str, job: Path, word: str, root: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, str(job), word, str(State(root).server)],
        capture_output=True,
        text=True,
        check=True,
        env={"PASSPHRASE": "xyzzy-1", "PATH": "/usr/bin:/bin"},
    )
    return done.stdout


def _archive(folder: Path, **more: bytes) -> Path:
    path = folder / "job.zip"
    files = {f"j/a/config/config_fed_{side}.json": b"{}" for side in ("server", "client")} | {"j/a/config/": b""}
    path.write_bytes(zip_of(files | {f"j/{name.replace('_', '.')}": content for name, content in more.items()}))
    return path


def test_a_job_in_json_is_read_and_then_it_must_be_one_of_ours(tmp_path: Path) -> None:
    archive = _archive(tmp_path, meta_json=json.dumps(_META).encode())
    assert _validated(archive, "NVFlare's own").startswith("(True, ''")
    assert archive.exists()
    assert _validated(archive, "ours").startswith("(False, 'the job lacks `config/config_fed_server.json`")
    assert not archive.exists(), "what was refused is not kept"


def _signed_archive(root: Path, folder: Path) -> Path:
    archive = folder / "job.zip"
    # NVFlare looks for these folders.
    files = files_of_folder(job_folder(root, job_of(root))) | {"server_app/config/": b"", "site_app/config/": b""}
    archive.write_bytes(zip_of({f"j/{path}": content for path, content in files.items()}))
    return archive


def test_a_signed_job_is_taken_once_from_who_signed_it(tmp_path: Path) -> None:
    root = provisioned(tmp_path)
    archive = _signed_archive(root, tmp_path)
    content = archive.read_bytes()
    assert "another person sends it" in _submitted(archive, "eve@bank.example", root)
    assert not archive.exists(), "what was refused is not kept"
    archive.write_bytes(content)
    assert _TAKEN in _submitted(archive, PERSON, root)
    assert archive.exists()
    assert "this submission was used before" in _submitted(archive, PERSON, root)


def test_a_job_from_no_session_at_all_is_not_taken(tmp_path: Path) -> None:
    root = provisioned(tmp_path)
    assert "another person sends it" in _validated(_signed_archive(root, tmp_path), "ours", root)


def test_a_job_cannot_have_the_server_read_its_files_and_environment(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text(json.dumps({"password": "xyzzy-2"}))
    meta = json.dumps(_META)[:-1] + f', env = ${{PASSPHRASE}}, file {{ include file("{tmp_path}/secret.json") }} }}'
    archive = _archive(tmp_path, meta_conf=meta.encode())
    found = _validated(archive, "NVFlare's own")
    assert "xyzzy-1" in found and "xyzzy-2" in found, "NVFlare no longer does this: our limit may go"
    refused = _validated(archive, "ours")
    assert "xyzzy" not in refused and refused.startswith("(False, 'meta.[json|conf|yml] not existing")


def test_an_archive_that_would_become_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    archive = _archive(tmp_path, meta_json=b" " * 20_000_000 + json.dumps(_META).encode())
    assert archive.stat().st_size < 100_000
    assert _validated(archive, "ours") == "(False, 'the job is larger than a job may be', {})\n"


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_an_archive_that_lies_about_its_size_takes_no_memory(tmp_path: Path, method: int) -> None:
    """`zipfile` inflates as much as an entry holds, and cuts it to what that declares afterwards."""
    archive = bomb("j/site_app/config/job.yaml", method)
    said: list[str] = []
    peak = peak_of(lambda: said.append(refusal_of(archive) or refusal_of_job(tmp_path, "j", archive, "ada")))
    assert peak < 8 << 20
    assert said[0].startswith(("the job is compressed in a way that jobs are not", "the check of the job failed"))


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (b"", "not a ZIP archive"),
        (b"PK\x05\x06" + bytes(17), "not a ZIP archive"),
        ("/nowhere/job.zip", "not a ZIP archive"),
        (zip_of({f"j/{number}": b"" for number in range(101)}), "larger than a job may be"),
    ],
)
def test_what_is_no_small_archive_is_refused(job: bytes | str, reason: str) -> None:
    assert reason in refusal_of(job)


def test_a_small_archive_is_looked_into() -> None:
    assert refusal_of(zip_of({"j/meta.json": b"{}"})) == ""
