# SPDX-License-Identifier: Apache-2.0
"""`cloister site`: enrol a site on the machine where the key is to stay."""

from __future__ import annotations

from pathlib import Path

import typer

from cloister.cli import enrolment
from cloister.cli.enrolment import (
    AdoptOption,
    EncryptOption,
    FingerprintOption,
    KitArgument,
    NameArgument,
    OutOption,
    ReplaceOption,
)
from cloister.cli.options import FolderOption, JsonOption, output

_HELP = "Enrol a site: its key, its request, its kit."

app = typer.Typer(help=_HELP, no_args_is_help=True, rich_markup_mode=None)


@app.command("init")
def init(
    name: NameArgument,
    encrypt: EncryptOption = False,
    replace: ReplaceOption = False,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Make a private key here, where it stays."""
    del as_json
    enrolment.init("site", name, folder, output(), encrypt=encrypt, replace=replace)


@app.command("request")
def request(
    name: NameArgument,
    out: OutOption = None,
    adopt: AdoptOption = None,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write the request for a certificate.

    Shows the fingerprint of the key, to be read to the authority over the telephone.
    """
    del as_json
    enrolment.request("site", name, folder, output(), out, adopt)


@app.command("join")
def join(
    kit: KitArgument, fingerprint: FingerprintOption = "", folder: FolderOption = Path(), as_json: JsonOption = False
) -> None:
    """Check a kit and put it in place; also a later one."""
    del as_json
    enrolment.join_with("site", kit, fingerprint, folder, output())
