# SPDX-License-Identifier: Apache-2.0
"""`cloister policy`: what a site allows; each command is in a file of its own."""

from __future__ import annotations

import typer

from cloister.cli import policy_approve_code

app = typer.Typer(help="Policies: what each site allows.", no_args_is_help=True, rich_markup_mode=None)

app.command("approve-code")(policy_approve_code.approve_code)
