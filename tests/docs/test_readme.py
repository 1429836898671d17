# SPDX-License-Identifier: Apache-2.0
"""The README's shell lines, run as they stand there or known to be run by another test."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cloister.cli.main import main
from cloister.errors import ExitStatus
from tests.docs.pages import ROOT, shell_lines, text_of

README = text_of("README.md")
FOLDERS = ("jobs", "silos", "provisioning", "policies", "code")

RUN_HERE = {
    ".venv/bin/cloister --help",
    ".venv/bin/cloister check",
    ".venv/bin/cloister job explain triage-notes",
}

RUN_ELSEWHERE = {
    "make demo": "a target that calls `cloister demo run`, below; what that does: tests/flare",
    "make test": "a target that calls pytest, below; CI runs it",
}

Cloister = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the four folders, with policies that count today, whenever that is."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tmp_path / name)
    for policy in (tmp_path / "policies").rglob("*.yaml"):
        text = policy.read_text(encoding="utf-8")
        text = re.sub(r"^valid_from: \S+", "valid_from: 2000-01-01", text, flags=re.MULTILINE)
        policy.write_text(re.sub(r"^valid_until: \S+", "valid_until: 2999-12-31", text, flags=re.MULTILINE))
    return tmp_path


@pytest.fixture
def cloister(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cloister:
    """Runs a `cloister …` line in the copy; gives exit status, standard output and standard error."""

    def run(line: str) -> tuple[int, str, str]:
        words = shlex.split(line)
        assert words[0].removeprefix(".venv/bin/") == "cloister"
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["cloister", *words[1:]])
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_every_shell_line_is_run_by_a_test() -> None:
    assert set(shell_lines(README)) == RUN_HERE | set(RUN_ELSEWHERE)


@pytest.mark.parametrize("line", sorted(RUN_HERE))
def test_shell_lines_end_well(cloister: Cloister, line: str) -> None:
    status, out, err = cloister(line)
    assert (status, err) == (0, "")
    assert out


@pytest.mark.parametrize(("target", "command"), [("demo", "cloister demo run"), ("test", "python -m pytest")])
def test_make_targets_call_what_they_are_said_to_call(target: str, command: str) -> None:
    (recipe,) = re.findall(rf"^{target}:.*\n((?:\t.+\n)+)", text_of("Makefile"), re.MULTILINE)
    assert command in recipe


def test_the_first_change_is_answered_as_the_readme_says(folder: Path, cloister: Cloister) -> None:
    status, out, _ = cloister(".venv/bin/cloister job explain triage-notes")
    assert (status, "NO" in out) == (0, False)
    (old, new, file) = ("maximum_rank: 16", "maximum_rank: 4", "policies/hospital-north.yaml")
    assert re.search(rf"`{file}` change\s+`{old}` to `{new}`", README)
    change(folder / file, old, new)
    status, out, _ = cloister(".venv/bin/cloister job explain triage-notes")
    (shown,) = re.findall(r"<!-- explain-output -->\n```text\n(.*?)```\n<!-- /explain-output -->", README, re.DOTALL)
    assert status == 0
    assert out.endswith(shown)


def test_the_demonstrations_output_has_its_place() -> None:
    (shown,) = re.findall(r"<!-- demo-output -->\n```text\n(.*?)```\n<!-- /demo-output -->", README, re.DOTALL)
    for word in ("training records", "alone", "federated"):
        assert word in shown


def test_exit_statuses_are_what_the_page_says(folder: Path, cloister: Cloister) -> None:
    assert cloister("cloister nope")[0] == ExitStatus.USAGE
    assert cloister("cloister job explain nope")[0] == ExitStatus.USAGE
    for site in ("hospital-north", "hospital-river"):
        change(folder / f"policies/{site}.yaml", "maximum_rank: 16", "maximum_rank: 4")
    assert cloister("cloister job explain triage-notes")[0] == ExitStatus.DENIED
    change(folder / "policies/hospital-hill.yaml", "\npurposes:", "\npurpose:")
    status, out, err = cloister("cloister check")
    assert (status, out) == (ExitStatus.INVALID_DOCUMENTS, "")
    assert "unknown key `purpose` (did you mean `purposes`?)" in err


def test_the_errors_that_pages_quote_are_real(cloister: Cloister) -> None:
    _, out, _ = cloister("cloister job explain nope --json")
    assert out in text_of("docs/exit-status.md")
    assert "unknown key `purpose` (did you mean `purposes`?)" in text_of("CONTRIBUTING.md")


def test_getting_started_shows_the_refusal_that_it_gets(folder: Path, cloister: Cloister) -> None:
    page = text_of("docs/getting-started.md")
    job = (folder / "jobs/triage-notes.yaml").read_text(encoding="utf-8")
    job = re.sub(r"^job: .*", "job: my-notes", job, flags=re.MULTILINE).replace("rank: 8 ", "rank: 64 ")
    (folder / "jobs/my-notes.yaml").write_text(job, encoding="utf-8")
    status, out, _ = cloister("cloister job explain my-notes")
    (shown,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    assert status == ExitStatus.DENIED
    assert shown in out
