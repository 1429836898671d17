# SPDX-License-Identifier: Apache-2.0
"""docs/commands.md and docs/exit-status.md against the command line itself."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer.main

from cloister.cli.main import app
from cloister.errors import ExitStatus
from tests.docs.pages import PAGES, ROOT, sections, shell_lines, text_of

COMMANDS_PAGE = text_of("docs/commands.md")
CLOISTER: Any = typer.main.get_command(app)


def leaves(command: Any, path: str) -> dict[str, Any]:
    """Every command below ``command`` by how it is called."""
    inner = getattr(command, "commands", None)
    if inner is None:
        return {path: command}
    return {name: leaf for key, each in inner.items() for name, leaf in leaves(each, f"{path} {key}").items()}


def options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("-")}


def arguments(command: Any) -> set[str]:
    return {str(each.metavar or each.name) for each in command.params if not each.opts[0].startswith("-")}


def unknown(line: str) -> str:
    """What in a `cloister …` line does not exist; nothing where all of it does."""
    words = shlex.split(line)[1:]
    command, path = CLOISTER, "cloister"
    while words and getattr(command, "commands", None):
        word = words.pop(0)
        if word in ("--help", "--version"):
            return ""
        if word not in command.commands:
            return f"{path} {word}"
        command, path = command.commands[word], f"{path} {word}"
    wrong = [word for word in words if word.startswith("-") and word not in options(command) | {"--help"}]
    return f"{path} {wrong[0]}" if wrong else ""


LEAVES = leaves(CLOISTER, "cloister")


def test_every_command_has_its_heading_and_no_other_has() -> None:
    titles = [title.strip("`") for title in sections(COMMANDS_PAGE, 3)]
    assert sorted(titles) == sorted(LEAVES)


@pytest.mark.parametrize("path", LEAVES)
def test_every_option_and_argument_is_named_and_no_other(path: str) -> None:
    section = sections(COMMANDS_PAGE, 3)[f"`{path}`"]
    (listed,) = re.findall(r"^Options: (.+?)\.$", section, re.MULTILINE)
    assert set(re.findall(r"`(--?[a-zA-Z-]+)`", listed)) == options(LEAVES[path])
    named = set(re.findall(r"Takes `([A-Z_]+)`", section))
    assert named == arguments(LEAVES[path])


def test_shared_options_are_explained() -> None:
    shared = sections(COMMANDS_PAGE, 2)["Options that commands share"]
    for option in set.intersection(*map(options, LEAVES.values())) | {"--as", "--help", "--version"}:
        assert f"`{option}`" in shared or f"`cloister {option}`" in shared


def test_every_exit_status_has_its_line() -> None:
    rows = re.findall(r"^\| (\d+) \| `([A-Z_]+)` \| (.+) \|$", text_of("docs/exit-status.md"), re.MULTILINE)
    assert [(int(number), name) for number, name, _ in rows] == [(each.value, each.name) for each in ExitStatus]
    assert all(meaning.endswith(".") for _, _, meaning in rows)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_cloister_line_in_a_page_can_be_called(page: Any) -> None:
    text = page.read_text(encoding="utf-8")
    prompted = re.findall(r"^\$ (cloister .+)$", text, re.MULTILINE)
    lines = [line for line in shell_lines(text) if re.match(r"(\.venv/bin/)?cloister ", line)]
    in_prose = [text for text in re.findall(r"`(cloister [^`…]+)`", text) if not re.search(r"[A-Z]{2}", text)]
    assert [line for line in [*lines, *prompted, *in_prose] if unknown(line.split("#")[0])] == []


@pytest.mark.parametrize(
    "line", ["cloister nope", "cloister job nope", "cloister check --nope", "cloister job list -x"]
)
def test_a_line_that_cannot_be_called_would_be_found(line: str) -> None:
    assert unknown(line)
