# SPDX-License-Identifier: Apache-2.0
"""`cloister job`: submit, watch, list, stop, fetch and explain jobs."""

from __future__ import annotations

import typer

from cloister.cli import job_abort, job_explain, job_fetch, job_list, job_submit, job_watch

app = typer.Typer(
    help="Submit, watch, list, stop, fetch and explain jobs.", no_args_is_help=True, rich_markup_mode=None
)
app.command("submit")(job_submit.submit)
app.command("watch")(job_watch.watch)
app.command("list")(job_list.list_jobs)
app.command("abort")(job_abort.abort)
app.command("fetch")(job_fetch.fetch)
app.command("explain")(job_explain.explain)
