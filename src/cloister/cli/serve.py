# SPDX-License-Identifier: Apache-2.0
"""`cloister serve`: become the server's or a site's process, for a service manager to keep."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cloister.certificates.passphrase import handed_over
from cloister.cli.options import FolderOption, JsonOption, output
from cloister.errors import ProvisioningError
from cloister.flare.processes import LocalFederation
from cloister.flare.state import State
from cloister.repository import find_root
from cloister.roster import Federation
from cloister.trust import roster_file, trust_in_force

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The server or the site, as the roster names it.")]


def serve(name: NameArgument, folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Become the server's, or a site's, process.

    For service managers: it stays in the foreground, writes to standard output, and ends when it is asked to.
    """
    del as_json
    root = find_root(folder.resolve())
    local = LocalFederation(root, roster_of(root, name))
    start = local.prepare(name)
    output().say(f"{name} starts, from {start.folder}")
    output().result({"name": name, "workspace": str(start.folder)})
    sys.stdout.flush()
    os.chdir(start.folder)
    with handed_over(start.passphrase) as (given, variables):
        os.dup2(given, 0)
        # The process keeps its number, so whoever watches this command watches the server or the site.
        environment = start.environment | variables
        os.execve(start.command[0], start.command, environment)  # noqa: S606 - there is no shell, which is the point


def roster_of(root: Path, name: str) -> Federation:
    """The roster in force at the server or site called ``name``, whose workspace lies on this machine.

    Raises:
        ProvisioningError: where none does.
        SignatureError: where the roster is not signed as it should be.
    """
    state = State(root)
    for workspace in (state.site(name), state.server):
        if workspace.resolve() == workspace and roster_file(workspace).exists():
            federation = trust_in_force(workspace).federation
            if name == federation.server.name if workspace == state.server else federation.site(name) is not None:
                return federation
    hint = "join with a kit, or run `cloister provision` where the authority is"
    raise ProvisioningError(f"no kit of `{name}` lies on this machine", hint=hint)
