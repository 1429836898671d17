# SPDX-License-Identifier: Apache-2.0
"""docs/compliance-officer.md: its files and commands in a fresh folder, against the output shown there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from itertools import groupby
from pathlib import Path

import pytest

from tests.cli.commands import cloister
from tests.docs.pages import ROOT, blocks, text_of

PAGE = "docs/compliance-officer.md"
FILE = re.compile(r"<!-- file: (\S+) -->")
UNTIL = re.compile(r"\b((?:valid_)?until: *)(\d{4})(-\d\d-\d\d)")
LEFT_OUT = "…"


def lasting(text: str) -> str:
    """A policy in which nothing ends while anybody runs this; dates are not compared."""
    return UNTIL.sub(lambda found: f"{found[1]}{int(found[2]) % 1000 + 3000}{found[3]}", text)


def make_lasting(folder: Path) -> None:
    """The same for every policy in ``folder``; a case of the day after an end moves along."""
    for path in (folder / "policies").glob("*.yaml"):
        path.write_text(lasting(path.read_text(encoding="utf-8")), encoding="utf-8")
    for path in (folder / "policies" / "cases").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("now: 2027-07-01T", "now: 3027-07-01T"), encoding="utf-8")


def normalised(text: str, folder: Path) -> list[str]:
    """Lines without what differs from run to run: dates, days, digests, paths, padding, and what ends soon by now."""
    text = text.replace(str(folder), "FOLDER").replace(str(ROOT), "ROOT")
    text = re.sub(r"\b\d+ days left", "DAYS left", text)
    text = re.sub(r"\d{4}-\d\d-\d\d", "DATE", re.sub(r"[0-9a-f]{16,64}", "HASH", text))
    lines = (re.sub(r"\s+", " ", line).strip() for line in text.splitlines())
    return [line for line in lines if line and not re.search(r" (ends|ended) on DATE", line)]


def matches(shown: list[str], came: list[str]) -> bool:
    """Whether ``came`` is what is ``shown``, where a line `…` stands for any lines."""
    if not shown:
        return not came
    if shown[0] == LEFT_OUT:
        return any(matches(shown[1:], came[index:]) for index in range(len(came) + 1))
    return bool(came) and shown[0] == came[0] and matches(shown[1:], came[1:])


def dialogue(text: str) -> list[tuple[str, str]]:
    """Commands of a block, each with the output shown below it."""
    found: list[tuple[str, str]] = []
    for is_command, lines in groupby(text.splitlines(), key=lambda line: line.startswith("$ ")):
        if is_command:
            found += [(line[2:], "") for line in lines]
        else:
            found[-1] = (found[-1][0], "\n".join(lines))
    return found


def run(command: str, folder: Path) -> str:
    """What ``command`` says in ``folder``, output before errors."""
    words = shlex.split(command)
    if words[0] == "cloister":
        done = cloister(*words[1:])
        return done.out + done.err
    environment = {**os.environ, "CLOISTER": str(ROOT)}
    shell = subprocess.run(
        ["bash", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return shell.stdout


def play(folder: Path) -> list[tuple[str, str, str]]:
    """Every command of the page with what is shown and what came."""
    found = []
    for block in blocks(text_of(PAGE)):
        file = FILE.match(block.before)
        if file:
            (folder / file[1]).write_text(block.text, encoding="utf-8")
            make_lasting(folder)
            continue
        for command, shown in dialogue(block.text):
            found.append((command, shown, run(command, folder)))
            if command.startswith("cp -r "):
                make_lasting(folder)
    return found


@pytest.mark.slow
def test_every_command_answers_as_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    played = play(tmp_path)
    assert len([command for command, _, _ in played if command.startswith("cloister ")]) > 8
    for command, shown, came in played:
        assert matches(normalised(shown, tmp_path), normalised(came, tmp_path)), f"{command}\n{came}"
    ends = [end for path in (tmp_path / "policies").glob("*.yaml") for end in UNTIL.finditer(path.read_text())]
    assert len(ends) > 8
    assert all(int(end[2]) > 3000 for end in ends), "this test fails once one of them is past"


@pytest.mark.parametrize(
    ("shown", "came", "same"),
    [
        (["a", "…", "c"], ["a", "b", "b", "c"], True),
        (["a", "…"], ["a"], True),
        (["a", "c"], ["a", "b", "c"], False),
        ([], ["a"], False),
        (["…", "c"], ["a", "b"], False),
    ],
)
def test_what_is_left_out_is_no_more_than_that(shown: list[str], came: list[str], same: bool) -> None:
    assert matches(shown, came) is same
