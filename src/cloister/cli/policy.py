# SPDX-License-Identifier: Apache-2.0
"""`cloister policy`: what a site allows; each command is in a file of its own."""

from __future__ import annotations

import typer

from cloister.cli import (
    policy_approve_code,
    policy_check,
    policy_diff,
    policy_explain,
    policy_revoke,
    policy_sign,
    policy_test,
    policy_verify,
)

app = typer.Typer(help="Policies: what each site allows.", no_args_is_help=True, rich_markup_mode=None)

app.command("approve-code")(policy_approve_code.approve_code)
app.command("check")(policy_check.check)
app.command("explain")(policy_explain.explain)
app.command("test")(policy_test.test)
app.command("diff")(policy_diff.diff)
app.command("sign")(policy_sign.sign)
app.command("verify")(policy_verify.verify)
app.command("revoke")(policy_revoke.revoke)
