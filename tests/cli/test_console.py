# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import io

from rich.table import Table

from cloister.cli.console import Output


def test_a_row_in_a_pipe_is_one_line() -> None:
    table = Table("job", "id", "submitted by", box=None, pad_edge=False)
    table.add_row("a-job-with-a-long-name" * 2, "d6cde423-38e3-4c7a-a456-b20b0de56d3e", "somebody@research.example" * 2)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        Output().say(table)
    assert len(out.getvalue().splitlines()) == 2
    assert "d6cde423-38e3-4c7a-a456-b20b0de56d3e" in out.getvalue()
