# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import io

import pytest
from rich.console import Console
from rich.table import Table

from cloister.cli.console import Output
from cloister.errors import UsageError


def test_a_row_in_a_pipe_is_one_line() -> None:
    table = Table("job", "id", "submitted by", box=None, pad_edge=False)
    table.add_row("a-job-with-a-long-name" * 2, "d6cde423-38e3-4c7a-a456-b20b0de56d3e", "somebody@research.example" * 2)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        Output().say(table)
    assert len(out.getvalue().splitlines()) == 2
    assert "d6cde423-38e3-4c7a-a456-b20b0de56d3e" in out.getvalue()


def test_a_terminal_too_narrow_for_a_table_does_not_cut_identifiers() -> None:
    table = Table("job", "id", "submitted by", box=None, pad_edge=False)
    table.add_row("complaint-routing" * 2, "d6cde423-38e3-4c7a-a456-b20b0de56d3e", "ada@research.example")
    output, out = Output(), io.StringIO()
    output.console = Console(file=out, force_terminal=True, color_system=None, width=80, soft_wrap=True)
    output.say(table)
    assert "d6cde423-38e3-4c7a-a456-b20b0de56d3e  ada@research.example" in out.getvalue()


def test_what_goes_on_meanwhile_is_shown_on_a_terminal_alone() -> None:
    shown: list[str] = []
    for terminal in (True, False):
        output = Output()
        output.console = Console(file=io.StringIO(), force_terminal=terminal, color_system=None, width=80)
        with output.busy("measuring"):
            output.say("said meanwhile")
        shown.append(output.console.file.getvalue())  # type: ignore[attr-defined]
    assert "measuring" in shown[0]
    assert shown[1] == "said meanwhile\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_says_text_character_for_character(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> None:
    text = "data[i:x:2]\t:smile: [red]a[/red]  \n\n  " + "w" * 3000
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        output = Output()
        output.say(text)
        output.error(UsageError(text))
    assert output.console.is_terminal == terminal
    assert out.getvalue() == f"{text}\n"
    assert err.getvalue() == f"cloister: {text}\n"


def test_cells_of_a_table_are_no_pictures() -> None:
    table = Table("who", box=None)
    table.add_row("a:smile:b")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        Output().say(table)
    assert "a:smile:b" in out.getvalue()
