# SPDX-License-Identifier: Apache-2.0
"""Where a command's words and values go.

With `--json`, standard output carries exactly one JSON value and people's text goes to standard error. Without it,
people's text goes to standard output, and there is no JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment, Segments
from rich.table import Table

from cloister.errors import CloisterError, InvalidDocumentsError

_COLUMNS_OF_A_PIPE = 1000


@dataclass
class Output:
    """One command's output.

    Attributes:
        as_json: whether standard output carries JSON.
        given: whether the command's value was given.
    """

    as_json: bool = False
    given: bool = False

    def __post_init__(self) -> None:
        self.console = _console(stderr=self.as_json)
        if not self.console.is_terminal:  # a file or a pipe has no edge, and an identifier cut in two is none
            self.console.width = _COLUMNS_OF_A_PIPE

    def say(self, text: RenderableType = "") -> None:
        """Say something to people; text is printed as it is, character for character."""
        if isinstance(text, Table):  # where a terminal is too narrow, its own wrapping leaves identifiers whole
            unlimited = self.console.options.update(width=_COLUMNS_OF_A_PIPE)
            text.width = Measurement.get(self.console, unlimited, text).maximum
        self.console.print(_verbatim(text) if isinstance(text, str) else text, markup=False)

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Show on a terminal what goes on meanwhile, and for how long; elsewhere nothing."""
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            progress.add_task(text, total=None)
            yield

    def result(self, value: Any) -> None:
        """Give the command's value."""
        self.given = True
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")
            sys.stdout.flush()

    def error(self, error: CloisterError) -> None:
        """Say what went wrong on standard error, and give it as JSON."""
        _console(stderr=True).print(_verbatim(f"cloister: {error}"))
        self.failed(error)

    def failed(self, error: CloisterError) -> None:
        """Give what went wrong as JSON, where JSON was asked for and the command has not given its value already."""
        if self.given:
            return
        value: dict[str, Any] = {
            "error": {"message": error.message, "hint": error.hint, "exit_status": int(error.exit_status)}
        }
        if isinstance(error, InvalidDocumentsError):
            value["error"]["problems"] = [vars(problem) for problem in error.problems]
        self.result(value)

    def interrupted(self, exit_status: int) -> None:
        """Say that somebody stopped the command, and give it as JSON."""
        with suppress(OSError):  # the terminal may be what went away
            _console(stderr=True).print(_verbatim("cloister: interrupted"))
            if not self.given:
                self.result({"error": {"message": "interrupted", "hint": "", "exit_status": exit_status}})


def _console(*, stderr: bool) -> Console:
    return Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


def _verbatim(text: str) -> Segments:
    """``text`` as one line or more; rich itself would write tabs as spaces and ``:x:`` as a picture."""
    return Segments([Segment(f"{_without_controls(text)}\n")])


def _without_controls(text: str) -> str:
    """``text`` without what a terminal would obey; sites and servers may have put anything into it."""
    return "".join(character if character.isprintable() or character in "\n\t" else "?" for character in text)


current = Output()
"""The running command's output; `cloister.cli.options` sets it before a command begins."""


def use(output: Output) -> Output:
    """Make ``output`` the running command's."""
    current.as_json = output.as_json
    current.given, current.console = output.given, output.console
    return current
