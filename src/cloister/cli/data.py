# SPDX-License-Identifier: Apache-2.0
"""`cloister data`: look at a site's records, at the site; and at what features are like, over all sites."""

from __future__ import annotations

import typer

from cloister.cli import data_check, data_preview, data_stats

app = typer.Typer(help="Check, preview and describe the records of sites.", no_args_is_help=True, rich_markup_mode=None)
app.command("check")(data_check.check)
app.command("preview")(data_preview.preview)
app.command("stats")(data_stats.stats)
