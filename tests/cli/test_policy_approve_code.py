# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import re
from datetime import date
from pathlib import Path

import pytest
import yaml

from cloister.jobs.code import read_code
from cloister.repository import load_repository
from tests.cli.commands import Done, cloister
from tests.federation_folder import JOB, OFFICER, PERSON, change_document, make_federation

TRAINER = "class Trainer:\n    '''everywhere'''\n"
UNTIL = "2098-06-30"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = make_federation(tmp_path, job={"code": "code/focal-loss"})
    folder = root / "code" / "focal-loss"
    (folder / "loss").mkdir(parents=True)
    (folder / "trainer.py").write_text(TRAINER, encoding="utf-8")
    (folder / "loss" / "focal.py").write_text("GAMMA = 2\n", encoding="utf-8")
    return root


def digest(root: Path) -> str:
    return read_code(root / "code" / "focal-loss").digest


def approve(root: Path, *more: str, site: str = "alpha", until: str = UNTIL) -> Done:
    return cloister("policy", "approve-code", JOB, "--site", site, "--until", until, "-C", root, *more)


def text_of(root: Path, site: str = "alpha") -> str:
    return (root / "policies" / f"{site}.yaml").read_text(encoding="utf-8")


def test_approves_exactly_this_code_in_exactly_this_policy(root: Path) -> None:
    before = {site: text_of(root, site) for site in ("alpha", "beta", "baseline")}
    done = approve(root, "--yes", "--json")
    assert done.status == 0, done.err
    assert done.value == {
        "policy": "policies/alpha.yaml",
        "site": "alpha",
        "version": 2,
        "job": JOB,
        "sha256": digest(root),
        "by": OFFICER,
        "until": UNTIL,
        "files": ["loss/focal.py", "trainer.py"],
    }
    granted = load_repository(root).policies["alpha"].value.code
    assert granted is not None
    assert granted != "forbidden"
    assert [(entry.sha256, entry.by, entry.until) for entry in granted.approved] == [
        (digest(root), OFFICER, date(2098, 6, 30))
    ]
    assert {site: text_of(root, site) for site in ("beta", "baseline")} == {
        site: before[site] for site in ("beta", "baseline")
    }


def test_shows_every_line_and_says_what_is_next(root: Path) -> None:
    done = approve(root, "--yes")
    for line in (
        "2 files, sha256",
        "--- trainer.py, 2 lines\n",
        "--- loss/focal.py, 1 line\n",
        "    1  class Trainer:",
        "    2      '''everywhere'''",
        "--- loss/focal.py",
        "GAMMA = 2",
    ):
        assert line in done.out
    assert digest(root) in done.out
    assert "policies/cases/code.yaml" in done.out
    assert "cloister policy sign alpha" in done.out


@pytest.mark.parametrize("site", ["alpha", "baseline"])
def test_the_case_that_it_prints_is_the_one_to_write(root: Path, site: str) -> None:
    cases = root / "policies" / "cases" / "code.yaml"
    for site_of_case in ("alpha", "beta", "gamma") if site == "baseline" else ():
        assert approve(root, "--yes", site=site_of_case).status == 0
    done = approve(root, "--yes", site=site)
    printed = done.out.split("policies/cases/code.yaml:\n\n")[1].split("\nthen:")[0]
    assert printed.startswith("now: ")
    cases.write_text(printed, encoding="utf-8")
    tested = cloister("policy", "test", site, "-C", root, "--json")
    (mine, *_) = [each for each in tested.value["results"] if each["at"].startswith("policies/cases/code.yaml")]
    assert (mine["passed"], mine["expected"], digest(root)[:12] in mine["case"]) == (True, "allow", True)
    approve(root, "--yes", site=site, until="2098-07-01")
    again = approve(root, "--yes", site=site, until="2098-07-02").out
    assert "code.yaml:\n\n  - case: " in again, "there is a file already, whose end it goes to"


def test_a_folder_in_the_officers_name_with_another_s_certificate_is_not_believed(root: Path) -> None:
    cloister("provision", "-C", root)
    people = root / ".cloister" / "people"
    (theirs,) = people.glob(f"{OFFICER}/startup/client.crt")
    (mine,) = people.glob(f"{PERSON}/startup/client.crt")
    theirs.write_bytes(mine.read_bytes())
    before = text_of(root)
    done = approve(root, "--yes")
    assert (done.status, text_of(root)) == (3, before)
    assert f"is of `{PERSON}` and not of `{OFFICER}`" in done.err


def test_shows_the_code_character_for_character(root: Path) -> None:
    """What looks like markup, a picture's name, an address or a path to the library that prints is code here."""
    odd = (
        "part = data[i:x:2] + [red]; t = data[a:smile:b]\n\tif x:\n\t\treturn 1  \n"
        "URL = 'https://a.example' # [link=x]y[/] :warning: 1_000 'quoted' /tmp/x\n\\[bold]\n" + "w" * 3000
    )
    (root / "code" / "focal-loss" / "trainer.py").write_text(odd, encoding="utf-8")
    (root / "code" / "focal-loss" / "notes.md").write_text("für später\t:x:\n", encoding="utf-8")
    done = approve(root, "--yes")
    assert done.status == 0, done.err
    shown: dict[str, list[str]] = {}
    ends: dict[str, str] = {}
    counts: dict[str, int] = {}
    for line in done.out.split("\n"):
        if heading := re.fullmatch(r"--- (\S+), (\d+) lines?(, the last without an end of line)?", line):
            shown[heading[1]], ends = [], ends | {heading[1]: "" if heading[3] else "\n"}
            counts[heading[1]] = int(heading[2])
        elif numbered := re.fullmatch(r" *(\d+)  (.*)", line):
            lines = list(shown.values())[-1]
            lines.append(numbered[2])
            assert int(numbered[1]) == len(lines)
    assert {path: "\n".join(lines) + ends[path] for path, lines in shown.items()} == dict(
        read_code(root / "code" / "focal-loss").files
    )
    assert counts == {path: len(lines) for path, lines in shown.items()}


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 3), ("", 3), ("\n", 3)])
def test_asks_first(root: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    before = text_of(root)
    done = approve(root, "--json")
    assert done.status == status
    assert "Approve this code at alpha" in done.err
    assert (text_of(root) == before) == (status != 0)
    assert ("error" in done.value) == (status != 0)


def test_then_explain_allows_it_and_refuses_any_other_code(root: Path) -> None:
    def refused() -> list[str]:
        done = cloister("job", "explain", JOB, "-C", root, "--json")
        return [
            outcome["message"]
            for outcome in done.value["alpha"]["outcomes"]
            if outcome["rule"] == "code" and outcome["effect"] == "deny"
        ]

    command = f"cloister policy approve-code {JOB} --site alpha --until DATE"
    assert [command in message for message in refused()] == [True]
    approve(root, "--yes")
    assert refused() == []
    (root / "code" / "focal-loss" / "loss" / "focal.py").write_text("GAMMA = 3\n", encoding="utf-8")
    assert [digest(root) in message for message in refused()] == [True]


def test_an_approval_that_is_there_already_is_not_repeated(root: Path) -> None:
    approve(root, "--yes")
    before = text_of(root)
    again = approve(root, "--yes")
    assert again.status == 2
    assert "approved already" in again.err
    assert text_of(root) == before
    assert approve(root, "--yes", until="2098-07-01").status == 0
    assert yaml.safe_load(text_of(root))["version"] == 3


REFUSED = {
    "a site that is none": ({"site": "delta"}, (), 2, "there is no policy `delta`"),
    "a word for a date": ({"until": "soon"}, (), 2, "is no date"),
    "a day that is past": ({"until": "2026-01-01"}, (), 2, "is past"),
    "a scientist as officer": ({}, ("--as", PERSON), 3, "may not sign the policy of `alpha`"),
    "a stranger as officer": ({}, ("--as", "eve@bank.example"), 2, "is not in the roster"),
}


@pytest.mark.parametrize(("options", "more", "status", "said"), REFUSED.values(), ids=REFUSED)
def test_refuses(root: Path, options: dict[str, str], more: tuple[str, ...], status: int, said: str) -> None:
    before = {site: text_of(root, site) for site in ("alpha", "beta", "gamma", "baseline")}
    done = approve(root, "--yes", *more, **options)
    assert (done.status, said in done.err) == (status, True), done.err
    assert {site: text_of(root, site) for site in before} == before


def test_several_officers_say_who_they_are(root: Path) -> None:
    roster = yaml.safe_load((root / "provisioning" / "federation.yaml").read_text(encoding="utf-8"))
    second = {"name": "olga@institute.example", "organisation": "institute", "role": "compliance-officer"}
    sites = [{**site, "officers": [OFFICER, second["name"]]} for site in roster["sites"]]
    change_document(root, "provisioning/federation.yaml", {"people": [*roster["people"], second], "sites": sites})
    done = approve(root, "--yes")
    assert done.status == 2
    assert f"{OFFICER}, olga@institute.example are officers of `alpha` (say who you are with --as OFFICER)" in done.err
    assert approve(root, "--yes", "--as", "olga@institute.example", "--json").value["by"] == "olga@institute.example"


def test_the_policys_file_is_as_good_as_its_name(root: Path) -> None:
    assert approve(root, "--yes", "--json", site=str(root / "policies" / "alpha.yaml")).value["site"] == "alpha"


def test_refuses_a_job_without_code(tmp_path: Path) -> None:
    done = approve(make_federation(tmp_path), "--yes")
    assert done.status == 2
    assert "brings no training code" in done.err


def test_refuses_where_there_is_no_sandbox(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"sandbox": "unsafe-none"})
    done = approve(root, "--yes")
    assert done.status == 3
    assert "no sandbox" in done.err


def test_writes_nothing_where_the_policy_cannot_be_edited(root: Path) -> None:
    path = root / "policies" / "alpha.yaml"
    path.write_text(text_of(root) + "code: {approved: [{sha256: " + "0" * 64 + ", by: o, until: 2098-01-01}]}\n")
    before = text_of(root)
    done = approve(root, "--yes")
    assert done.status == 1
    assert "cannot be edited" in done.err
    assert f"- sha256: {digest(root)}" in done.err
    assert text_of(root) == before


def test_writes_nothing_where_the_policy_changed_while_somebody_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answer(io.StringIO):
        def readline(self, *_: int) -> str:
            change_document(root, "policies/alpha.yaml", {"purposes": ["research"]})
            return "y\n"

    monkeypatch.setattr("sys.stdin", Answer())
    done = approve(root)
    assert done.status == 2
    assert "was changed while you read" in done.err
    assert "code" not in yaml.safe_load(text_of(root))
