# SPDX-License-Identifier: Apache-2.0
"""`cloister authority`: sign, revoke, publish, hand over; each command is in a file of its own."""

from __future__ import annotations

import typer

from cloister.cli import (
    authority_approve,
    authority_collect,
    authority_deposit,
    authority_endorse,
    authority_init,
    authority_list,
    authority_publish,
    authority_revoke,
    authority_rotate,
)

app = typer.Typer(help="The authority: who may take part.", no_args_is_help=True, rich_markup_mode=None)

app.command("init")(authority_init.init)
app.command("approve")(authority_approve.approve)
app.command("endorse")(authority_endorse.endorse)
app.command("list")(authority_list.list_issued)
app.command("revoke")(authority_revoke.revoke)
app.command("publish")(authority_publish.publish)
app.command("rotate")(authority_rotate.rotate)
app.command("collect")(authority_collect.collect)
app.command("deposit")(authority_deposit.deposit)
