# SPDX-License-Identifier: Apache-2.0
"""`cloister renew`: ask for the next certificate of whoever's key is here, and put in place what was granted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cloister.certificates import Identity, identities, pem, read_certificate, startup_folder
from cloister.cli.options import FolderOption, JsonOption, federation_here, output
from cloister.errors import CertificateError, UsageError
from cloister.files import write_atomically
from cloister.flare.letters import must_ask
from cloister.flare.processes import LocalFederation
from cloister.flare.session import connect
from cloister.provisioning.authority import AUTHORITY_FOLDER, CERTIFICATE_FILE, Authority
from cloister.provisioning.distribution import distribute, mailbox_of
from cloister.provisioning.granting import grant_renewals
from cloister.provisioning.kit import KitPaths
from cloister.provisioning.publication import publish
from cloister.provisioning.renewal import install_certificate, key_is_here, request_renewal
from cloister.trust import trust_in_force
from cloister.trust.mailbox import grant_for, put_request


def renew(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose; everybody whose key is here and due.")] = "",
    new_key: Annotated[bool, typer.Option("--new-key", help="Make a new key as well, whatever its age.")] = False,
    target: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the request to a file for the authority.")
    ] = None,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Renew certificates before they end.

    A running site or server does it by itself. Nothing but key and certificate is touched.
    """
    del as_json
    local, now, out = federation_here(folder), datetime.now(UTC), output()
    here = [each for each in identities(local.federation) if local.has_key(each)]
    wanted = [each for each in here if each.name == name] if name else [each for each in here if _due(local, each, now)]
    if name and not wanted:
        raise UsageError(f"no key of `{name}` lies on this machine", hint="run it where the key is")
    if target is not None and len(wanted) != 1:
        raise UsageError("a file holds one request", hint="name whose: cloister renew NAME --out FILE")
    requests = {
        each.name: request_renewal(_workspace(local, each), each, now, new_key=new_key or None) for each in wanted
    }
    outcomes = _file(wanted, requests, target) if target is not None else _ask(local, wanted, requests, now)
    for each, outcome in outcomes.items():
        out.say(f"{each}: {outcome}")
    if not wanted:
        out.say("nobody's certificate is due")
    out.result({"renewals": [{"name": each, "outcome": outcome} for each, outcome in outcomes.items()]})


def _due(local: LocalFederation, identity: Identity, now: datetime) -> bool:
    path = KitPaths.of(startup_folder(local.state.folder, identity), identity).certificate
    if not path.exists():
        return False
    return must_ask(read_certificate(path), trust_in_force(_workspace(local, identity)), now)


def _workspace(local: LocalFederation, identity: Identity) -> Path:
    return startup_folder(local.state.folder, identity).parent


def _file(wanted: list[Identity], requests: dict[str, bytes], path: Path) -> dict[str, Any]:
    name = wanted[0].name
    write_atomically(path, requests[name], mode=0o644)
    return {name: f"wrote {path}: send it to whoever runs the authority, and join with the kit that comes back"}


def _ask(local: LocalFederation, wanted: list[Identity], requests: dict[str, bytes], now: datetime) -> dict[str, Any]:
    """Ask by the shortest way there is: the authority's key here, the server's mailbox here, or a session."""
    folder = local.state.folder / AUTHORITY_FOLDER
    if (folder / CERTIFICATE_FILE).exists() and (authority := Authority.open(folder)).has_keys:
        granted, refused = grant_renewals(authority, local.federation, requests, now)
        if granted:
            roster = publish(authority, local.federation, now)
            distribute(authority, local.federation, local.state.folder, roster, granted)
        done: dict[str, Any] = {}
        for each in wanted:
            if each.name in refused:
                done[each.name] = str(refused[each.name])
            else:
                install_certificate(_workspace(local, each), each, granted[each.name], now)
                done[each.name] = "renewed"
        return done
    return {each.name: _by_mail(local, each, requests[each.name], now) for each in wanted}


def _by_mail(local: LocalFederation, identity: Identity, request: bytes, now: datetime) -> str:
    waits = "the request waits for the authority; run the command again once it has answered"
    workspace = _workspace(local, identity)
    if local.has_key(identities(local.federation)[0]):  # the server's
        mailbox = mailbox_of(local.state.folder)
        certificate = grant_for(mailbox, identity.name)
        if certificate is not None and _installed(workspace, identity, certificate, now):
            return "renewed"
        put_request(mailbox, identity.name, request)
        return waits
    if identity.kind == "site":
        return "the running site sends the request and puts the answer in place; without a connection: --out FILE"
    with connect(workspace, identity.name) as session:
        return "renewed" if session.sync() else waits


def _installed(workspace: Path, identity: Identity, certificate: bytes, now: datetime) -> bool:
    key = KitPaths.of(workspace / "startup", identity).key
    if not key_is_here(workspace, key, pem.parse_certificate(certificate, "grant")):  # the answer to an earlier request
        return False
    try:
        return install_certificate(workspace, identity, certificate, now)
    except CertificateError:  # one that has ended or was revoked since
        return False
