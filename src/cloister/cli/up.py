# SPDX-License-Identifier: Apache-2.0
"""`cloister up`: start the federation's server and sites on this machine."""

from __future__ import annotations

import time
from pathlib import Path

from cloister.cli.console import Output
from cloister.cli.officers import check_signed
from cloister.cli.options import FolderOption, JsonOption, federation_of, output, repository
from cloister.errors import DeniedError, FederationError
from cloister.flare.processes import LocalFederation
from cloister.flare.session import connect

_LISTEN_SECONDS = 60.0
_REGISTER_SECONDS = 90.0


def up(folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Start server and sites on this machine.

    Waits until every site is connected.
    """
    del as_json
    out = output()
    repo = repository(folder)
    local = federation_of(repo)
    started = start(local, out)
    try:
        check_signed(repo, [site.name for site in local.federation.sites])
    except DeniedError as error:
        out.say(f"sites take no jobs yet: {error}")
    out.result({"started": started, "port": local.remembered_port()})


def start(local: LocalFederation, out: Output, sites: list[str] | None = None) -> list[str]:
    """Start what does not run yet, and wait until the sites are connected; returns what was started.

    Raises:
        CloisterError: where something cannot be started or does not connect.
    """
    wanted = sites if sites is not None else [site.name for site in local.federation.sites]
    started = local.start(wanted)
    what = f"started {', '.join(started)}" if started else "everything runs already"
    out.say(f"{what} on port {local.remembered_port()}; waiting for the sites to connect …")
    local.wait_until_listening(_LISTEN_SECONDS)
    _wait_for_sites(local, wanted)
    out.say(f"{len(wanted)} sites are connected over mutual TLS")
    return started


def _wait_for_sites(local: LocalFederation, wanted: list[str]) -> None:
    person = local.federation.people[0].name
    deadline = time.monotonic() + _REGISTER_SECONDS
    with connect(local.state.person(person), person) as session:
        while missing := sorted(set(wanted) - set(session.connected_sites())):
            local.check_alive([local.federation.server.name, *wanted])
            if time.monotonic() > deadline:
                hint = f"see {local.state.log(missing[0])}"
                raise FederationError(f"`{missing[0]}` did not connect: {local.last_words(missing[0])}", hint=hint)
            time.sleep(0.3)
