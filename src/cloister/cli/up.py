# SPDX-License-Identifier: Apache-2.0
"""`cloister up`: start the federation's server and sites on this machine."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from cloister.cli.console import Output
from cloister.cli.officers import check_signed, has_key
from cloister.cli.options import FolderOption, JsonOption, federation_of, output
from cloister.errors import CloisterError, FederationError
from cloister.flare.processes import LocalFederation
from cloister.flare.registration import has_registered
from cloister.flare.session import PersonSession, connect
from cloister.repository import find_root, load_repository

SitesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="SITE", help="Sites to start; all whose keys are here.")
]

_LISTEN_SECONDS = 60.0
_REGISTER_SECONDS = 90.0


def up(names: SitesArgument = None, folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Start server and sites on this machine.

    Those whose keys are here, or of the sites those that are named. Waits until every one of them is connected.
    """
    del as_json
    out = output()
    root = find_root(folder.resolve())
    repo = load_repository(root)
    local = federation_of(repo)
    started = start(local, out, names or None)
    here = [name for name in local.here() if local.federation.site(name) is not None]
    try:
        if here:
            check_signed(repo, here)
    except CloisterError as error:
        out.say(f"sites take no jobs yet: {error}")
    out.result({"started": started, "port": local.remembered_port()})


def start(local: LocalFederation, out: Output, sites: list[str] | None = None) -> list[str]:
    """Start what does not run yet, and wait until the sites are connected; returns what was started.

    Raises:
        CloisterError: where something cannot be started or does not connect.
    """
    server = local.federation.server.name
    began = time.time()
    started = local.start(sites)
    wanted = sites if sites is not None else [name for name in local.here() if name != server]
    what = f"started {', '.join(started)}" if started else "everything runs already"
    waits = "; waiting for the sites to connect …" if wanted else ""
    out.say(f"{what} on port {local.remembered_port()}{waits}")
    if server in local.here():
        local.wait_until_listening(_LISTEN_SECONDS)
        if not wanted:
            out.say(f"{server} takes connections")
    if wanted:
        _wait_for_sites(local, wanted, began)
        out.say(
            f"{len(wanted)} sites are connected over mutual TLS" if len(wanted) > 1 else f"{wanted[0]} is connected"
        )
    return started


def _wait_for_sites(local: LocalFederation, wanted: list[str], began: float) -> None:
    person = next((each.name for each in local.federation.people if has_key(local, each.name)), None)
    with connect(local.state.person(person), person) if person else nullcontext() as session:
        deadline = time.monotonic() + _REGISTER_SECONDS
        while missing := sorted(set(wanted) - set(_connected(local, wanted, began, session))):
            local.check_alive(wanted)
            if time.monotonic() > deadline:
                hint = f"see {local.state.log(missing[0])}, and: cloister doctor {missing[0]}"
                raise FederationError(f"`{missing[0]}` did not connect: {local.last_words(missing[0])}", hint=hint)
            time.sleep(0.3)


def _connected(local: LocalFederation, wanted: list[str], began: float, session: PersonSession | None) -> list[str]:
    """Which sites are connected: as the server says, where somebody here may ask it, or as the sites' own logs do."""
    if session is not None:
        return session.connected_sites()
    running = local.running()
    return [
        name
        for name in wanted
        if name in running and has_registered(local.state.site(name), min(began, running[name].started))
    ]
