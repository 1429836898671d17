# SPDX-License-Identifier: Apache-2.0
"""`cloister authority approve`: sign requests, first ones by hand and renewals by themselves."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cloister.certificates import Identity, read_certificate
from cloister.cli.authority_here import AuthorityHere
from cloister.cli.console import Output
from cloister.cli.enrolment import read_request, spoken
from cloister.cli.options import FolderOption, JsonOption, output
from cloister.errors import DeniedError, ProvisioningError, UsageError
from cloister.files import read_regular, write_atomically
from cloister.provisioning.adoption import verify_adoption
from cloister.provisioning.approval import key_fingerprint
from cloister.provisioning.granting import entry_of, grant, grant_renewals, trust_of
from cloister.provisioning.kit_archive import CERTIFICATE, MAXIMUM_BYTES, ROSTER_IN_KIT, make_archive
from cloister.provisioning.publication import latest_roster
from cloister.provisioning.renewal import is_renewal, read_renewal
from cloister.trust.mailbox import drop_request, newest_version, requests_in

RequestsArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="REQUEST", help="Files that participants have sent.")
]


def approve(
    requests: RequestsArgument = None,
    renewals: Annotated[bool, typer.Option("--renewals", help="Answer every request for renewal that waits.")] = False,
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", metavar="SHA256", help="Of the request's key, as its sender read it to you.")
    ] = "",
    adopted_root: Annotated[
        Path | None,
        typer.Option("--adopted-root", metavar="FILE", help="Root of the old project, where an old kit is proof."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where kits are written.")] = Path(),
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Sign requests and write kits.

    A first request needs the fingerprint of its key, compared by telephone. A renewal is signed with the key that it
    replaces, and needs nothing.
    """
    del as_json
    here = AuthorityHere.at(folder)
    if bool(requests) == renewals:
        raise UsageError("name requests, or give --renewals")
    if renewals:
        _renewals(here, output())
        return
    made = [_one(here, path, fingerprint, adopted_root, out) for path in requests or []]
    output().result({"approved": made})


def _renewals(here: AuthorityHere, out: Output) -> None:
    waiting = requests_in(here.mailbox)
    granted, refused = grant_renewals(here.authority, here.federation, waiting, datetime.now(UTC))
    if granted or _half_over(here):
        here.publish(out, granted)
    elif (latest := latest_roster(here.authority)) and latest[1].version > newest_version(here.mailbox):
        here.distribute(latest[0], out)  # signed a moment ago, to judge the requests by
    for name in granted:
        out.say(f"renewed `{name}`")
    for name, error in refused.items():
        out.say(f"refused the request of `{name}`: {error}")
        drop_request(here.mailbox, name)
    if not waiting:
        out.say("no request for renewal waits")
    out.result({"renewed": sorted(granted), "refused": {name: str(error) for name, error in refused.items()}})


def _half_over(here: AuthorityHere) -> bool:
    """Whether half of the time is over in which the latest roster counts as fresh."""
    latest = latest_roster(here.authority)
    if latest is None:
        return True
    trust = latest[1]
    return datetime.now(UTC) >= trust.issued_at + (trust.next_update - trust.issued_at) / 2


def _one(here: AuthorityHere, path: Path, said: str, old_root: Path | None, folder: Path) -> dict[str, Any]:
    try:
        content = read_regular(path, MAXIMUM_BYTES)
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read") from error
    if is_renewal(content):
        return _renewal_by_file(here, content, folder)
    csr, adoption = read_request(path)
    identity, now, out = entry_of(here.federation, csr), datetime.now(UTC), output()
    out.say(_shown(identity))
    if adoption is not None and old_root is not None:
        root, issued = read_certificate(old_root), here.authority.issued()
        proof = verify_adoption(adoption, csr, identity, root, now, issued=issued)
        out.say(f"proven by the old kit of `{proof.old_name}`, whose certificate ends on {proof.not_after:%Y-%m-%d}")
    else:
        _compare(path, key_fingerprint(csr), said, out)
    approvals = [read_regular(each, MAXIMUM_BYTES) for each in sorted(path.parent.glob(f"{path.name}.*.approval"))]
    granted = grant(here.authority, here.federation, csr, approvals, now, documents=here.documents())
    here.distribute(granted.roster, out, {})
    return _written(folder, identity, granted.kit, granted.approvers)


def _renewal_by_file(here: AuthorityHere, content: bytes, folder: Path) -> dict[str, Any]:
    now = datetime.now(UTC)
    identity = read_renewal(content, trust_of(here.authority, here.federation, now), now).identity
    granted, refused = grant_renewals(here.authority, here.federation, {identity.name: content}, now)
    if identity.name in refused:
        raise refused[identity.name]
    here.publish(output(), granted)
    found = latest_roster(here.authority)
    if found is None:
        raise ProvisioningError("the roster that was published just now cannot be read")
    files = {CERTIFICATE: granted[identity.name], ROSTER_IN_KIT: found[0]}
    kit = make_archive(here.authority, identity, files, here.federation.federation, now)
    return _written(folder, identity, kit, ())


def _written(folder: Path, identity: Identity, kit: bytes, approvers: tuple[str, ...]) -> dict[str, Any]:
    path = folder / f"{identity.name}.kit"
    write_atomically(path, kit, mode=0o644)
    if approvers:
        output().say(f"approved by {', '.join(approvers)}")
    output().say(f"wrote {path}: send it back; it holds no secret")
    return {"name": identity.name, "kind": identity.kind, "kit": str(path), "approvers": list(approvers)}


def _shown(identity: Identity) -> Table:
    table = Table("name", "kind", "organisation", "role", "hosts", box=None, pad_edge=False)
    role = identity.role.value if identity.role else ""
    table.add_row(identity.name, identity.kind, identity.organisation, role, ", ".join(identity.hosts))
    return table


def _compare(path: Path, key: str, said: str, out: Output) -> None:
    """See that somebody has compared the fingerprint of the key with whoever made it."""
    if said:
        if "".join(said.lower().replace(":", "").split()) != key:
            hint = "somebody else may have made this request; sign nothing"
            raise DeniedError(f"the key in `{path}` has another fingerprint than was read to you", hint=hint)
        return
    out.say(f"fingerprint of the key in {path}:\n{spoken(key)}")
    if not sys.stdin.isatty():
        hint = "call whoever sent it, have theirs read to you, and give it with --fingerprint"
        raise UsageError("nobody has compared the fingerprint", hint=hint)
    if not typer.confirm("Does whoever sent it, called on a number that you know, read the same?", err=True):
        raise DeniedError("the fingerprint was not confirmed; nothing is signed")
