# SPDX-License-Identifier: Apache-2.0
"""`cloister audit`: the log of what was decided and released; each command is in a file of its own."""

from __future__ import annotations

import typer

from cloister.cli import audit_compare, audit_export, audit_show, audit_verify

app = typer.Typer(help="The audit log: show it, verify it, export it.", no_args_is_help=True, rich_markup_mode=None)

app.command("show")(audit_show.show)
app.command("verify")(audit_verify.verify_logs)
app.command("export")(audit_export.export)
app.command("compare")(audit_compare.compare_logs)
