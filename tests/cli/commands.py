# SPDX-License-Identifier: Apache-2.0
"""The command line, called in this process as a shell would call it."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from cloister.cli.console import Output, use
from cloister.cli.main import main


@dataclass(frozen=True)
class Done:
    """What a command left.

    Attributes:
        status: its exit status.
        out: its standard output.
        err: its standard error.
    """

    status: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """The one JSON value on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error in that value."""
        assert set(self.value) == {"error"}
        return dict(self.value["error"])


def cloister(*arguments: str | Path) -> Done:
    """Run one command."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["cloister", *map(str, arguments)]
    with mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        use(Output())
        try:
            main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
    return Done(status, out.getvalue(), err.getvalue())
