# SPDX-License-Identifier: Apache-2.0
"""`cloister audit`: the log of what was decided and released; each command is in a file of its own."""

from __future__ import annotations

import typer

app = typer.Typer(help="The audit log: show it, verify it, export it.", no_args_is_help=True, rich_markup_mode=None)
