# SPDX-License-Identifier: Apache-2.0
"""What holds for every command there is, found by walking the application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer.main

from cloister import __version__
from cloister.cli.main import app
from tests.cli.commands import cloister
from tests.federation_folder import make_federation


def _commands(group: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, command in group.commands.items():
        inner = (*path, name)
        found += _commands(command, inner) if hasattr(command, "commands") else [(inner, command)]
    return found


COMMANDS = dict(_commands(typer.main.get_command(app)))
_ANYWHERE = {
    ("import",),
    *((kind, step) for kind in ("site", "person", "server") for step in ("init", "request", "join")),
}
_READ_NO_MORE_THAN_THEY_NEED = ("demo", "audit", "doctor", "serve", "deploy", "authority", "renew")
INSIDE = [path for path in COMMANDS if path not in _ANYWHERE]
"""Those that work in a federation's folder; the others make such a folder."""


def arguments_of(command: Any) -> list[str]:
    """Something for every argument and option that must be given."""
    required = [parameter for parameter in command.params if parameter.required]
    return [
        word
        for parameter in required
        for word in (("nothing",) if parameter.param_type_name == "argument" else (parameter.opts[0], "nothing"))
    ]


def test_the_walk_finds_commands() -> None:
    assert {("check",), ("up",), ("down",), ("status",), ("job", "submit"), ("job", "explain")} <= set(COMMANDS)


@pytest.mark.parametrize("path", INSIDE, ids=" ".join)
def test_json_and_a_folder_are_accepted(path: tuple[str, ...]) -> None:
    options = {option for parameter in COMMANDS[path].params for option in parameter.opts}
    assert {"--json", "--folder", "-C"} <= options


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help
    assert all(parameter.help for parameter in command.params if parameter.param_type_name == "option")
    done = cloister(*path, "--help")
    assert done.status == 0
    assert command.help.split(".")[0].split()[0] in done.out


@pytest.mark.parametrize("group", [(), *sorted({path[:1] for path in COMMANDS if len(path) > 1})], ids=" ".join)
def test_no_summary_is_cut_on_a_terminal_of_eighty_columns(
    group: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    assert "..." not in cloister(*group, "--help").out.partition("Commands:")[2]


@pytest.mark.parametrize("path", INSIDE, ids=" ".join)
def test_outside_a_federation_every_command_fails_with_one_json_value(path: tuple[str, ...], tmp_path: Path) -> None:
    done = cloister(*path, *arguments_of(COMMANDS[path]), "-C", tmp_path, "--json")
    assert done.status == 2
    assert "is not inside a federation's folder" in done.error["message"]
    assert done.error["exit_status"] == 2
    assert done.err.startswith("cloister: ")


@pytest.mark.parametrize("path", INSIDE, ids=" ".join)
def test_without_json_nothing_but_words_for_people(path: tuple[str, ...], tmp_path: Path) -> None:
    done = cloister(*path, *arguments_of(COMMANDS[path]), "-C", tmp_path)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("cloister: ")


@pytest.mark.parametrize(
    "path",
    [path for path in INSIDE if path[0] not in _READ_NO_MORE_THAN_THEY_NEED and path != ("down",)],
    ids=" ".join,
)
def test_over_invalid_documents_every_command_fails_with_every_problem(path: tuple[str, ...], tmp_path: Path) -> None:
    root = make_federation(tmp_path)
    (root / "policies" / "alpha.yaml").write_text("policy: [")
    (root / "silos" / "beta.yaml").unlink()
    done = cloister(*path, *arguments_of(COMMANDS[path]), "-C", root, "--json")
    assert done.status == 4
    assert {problem["file"] for problem in done.error["problems"]} >= {"policies/alpha.yaml"}
    assert all(set(problem) == {"file", "line", "message", "hint"} for problem in done.error["problems"])


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_wrong_option_is_a_usage_error_with_one_json_value(path: tuple[str, ...]) -> None:
    done = cloister(*path, "--no-such-option", "--json")
    assert done.status == 2
    assert done.error["exit_status"] == 2
    assert "--no-such-option" in done.err


@pytest.mark.parametrize("path", [path for path, command in COMMANDS.items() if arguments_of(command)], ids=" ".join)
def test_a_missing_argument_is_a_usage_error_with_one_json_value(path: tuple[str, ...]) -> None:
    done = cloister(*path, "--json")
    assert (done.status, done.error["exit_status"]) == (2, 2)


def test_an_unknown_command_is_a_usage_error() -> None:
    done = cloister("no-such-command", "--json")
    assert (done.status, done.error["exit_status"]) == (2, 2)
    assert cloister("job", "no-such-command").out == ""


def test_the_version_is_told() -> None:
    done = cloister("--version")
    assert (done.status, done.out) == (0, f"cloister {__version__}\n")
