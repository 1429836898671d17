# SPDX-License-Identifier: Apache-2.0
"""What `site`, `person` and `server` have in common: make a key, ask for a certificate, join with a kit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cloister.certificates import Identity, identities
from cloister.certificates.identity import Kind
from cloister.cli.console import Output
from cloister.cli.options import FolderOption, JsonOption, output
from cloister.documents import load
from cloister.errors import ProvisioningError, UsageError
from cloister.files import canonical_json, read_regular, write_atomically
from cloister.flare.state import State
from cloister.provisioning.adoption import adopt
from cloister.provisioning.approval import key_fingerprint
from cloister.provisioning.enrolment import init_key, request_certificate
from cloister.provisioning.joining import join
from cloister.provisioning.kit_archive import MAXIMUM_BYTES, fingerprint_in
from cloister.repository import find_root
from cloister.roster import ROSTER, Federation

REQUEST_KEYS = {"adoption", "csr"}

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The name that the roster will have.")]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where the request is written.")]
AdoptOption = Annotated[
    Path | None,
    typer.Option("--adopt", metavar="STARTUP", help="The startup folder of an old NVFlare kit that proves who asks."),
]
EncryptOption = Annotated[
    bool, typer.Option("--encrypt", help="Encrypt the key at rest; the passphrase comes from where the docs say.")
]
ReplaceOption = Annotated[
    bool,
    typer.Option("--replace", help="Make another key beside the one that is here; it counts once joined."),
]
KitArgument = Annotated[Path, typer.Argument(metavar="KIT", help="The file that `authority approve` wrote.")]
FingerprintOption = Annotated[
    str, typer.Option("--fingerprint", metavar="SHA256", help="The authority's, as its people read it to you.")
]


def enrolment_of(kind: Kind, who: str) -> typer.Typer:
    """The commands `init`, `request` and `join` of ``kind``; ``who`` is what its help calls one."""
    app = typer.Typer(help=f"Enrol {who}: key, request, kit.", no_args_is_help=True, rich_markup_mode=None)

    @app.command("init")
    def init_command(
        name: NameArgument,
        encrypt: EncryptOption = False,
        replace: ReplaceOption = False,
        folder: FolderOption = Path(),
        as_json: JsonOption = False,
    ) -> None:
        """Make a private key here, where it stays."""
        del as_json
        init(kind, name, folder, output(), encrypt=encrypt, replace=replace)

    @app.command("request")
    def request_command(
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
        request(kind, name, folder, output(), out, adopt)

    @app.command("join")
    def join_command(
        kit: KitArgument,
        fingerprint: FingerprintOption = "",
        folder: FolderOption = Path(),
        as_json: JsonOption = False,
    ) -> None:
        """Check a kit and put it in place; also a later one."""
        del as_json
        join_with(kind, kit, fingerprint, folder, output())

    return app


@dataclass(frozen=True)
class Place:
    """A folder that is, or will be, a participant's.

    Attributes:
        root: the folder with the documents, if there are any yet.
        state: its state folder.
    """

    root: Path
    state: State

    @classmethod
    def at(cls, folder: Path) -> Place:
        """The federation's folder at or above ``folder``; ``folder`` itself where there is none yet."""
        try:
            root = find_root(folder.resolve())
        except UsageError:
            root = folder.resolve()
        return cls(root, State(root))

    def federation(self) -> Federation | None:
        """The roster's document, where there is one."""
        path = self.root / ROSTER
        return load(path, Federation, name=ROSTER).value if path.is_file() else None

    def identity(self, kind: Kind, name: str) -> Identity:
        """Whoever is called ``name``: as the document says, or, where there is none, by the name alone.

        Raises:
            UsageError: where there is a document that does not name them so.
        """
        federation = self.federation()
        if federation is None:
            return Identity(name, "", kind)
        for each in identities(federation):
            if (each.kind, each.name) == (kind, name):
                return each
        raise UsageError(f"{ROSTER} names no {kind} `{name}`", hint="correct the name, or have the roster changed")


def init(kind: Kind, name: str, folder: Path, out: Output, *, encrypt: bool, replace: bool) -> None:
    """Make the key of ``name`` here."""
    place = Place.at(folder)
    identity = place.identity(kind, name)
    place.state.make()
    with out.busy("making a key …"):
        made = init_key(place.state.folder, identity, encrypted=encrypt, replace_key=replace)
    out.say(f"made the key of `{name}`; it stays on this machine" if made else f"`{name}` has a key here already")
    out.say(f"next: cloister {kind} request {name}")
    out.result({"name": name, "kind": kind, "created": made})


def request(kind: Kind, name: str, folder: Path, out: Output, target: Path | None, old_kit: Path | None) -> None:
    """Write the request of ``name`` for a certificate."""
    place = Place.at(folder)
    identity, now = place.identity(kind, name), datetime.now(UTC)
    place.state.make()
    csr = request_certificate(place.state.folder, identity)
    adoption = None if old_kit is None else adopt(csr, old_kit, identity, now).decode()
    path = target or Path(f"{name}.request.json")
    write_atomically(path, canonical_json({"csr": csr.decode(), "adoption": adoption}) + b"\n", mode=0o644)
    fingerprint = key_fingerprint(csr)
    out.say(f"wrote {path}: send it to whoever runs the authority; it holds no secret")
    out.say(f"fingerprint of the key, to read to them over the telephone:\n{spoken(fingerprint)}")
    out.result({"name": name, "kind": kind, "request": str(path), "key_sha256": fingerprint})


def read_request(path: Path) -> tuple[bytes, bytes | None]:
    """The signing request in a file that `request` wrote, and the proof from an old kit beside it.

    Raises:
        UsageError: where it is no such file.
    """
    try:
        value = json.loads(read_regular(path, MAXIMUM_BYTES))
        if value.keys() != REQUEST_KEYS or not isinstance(value["csr"], str):
            raise ValueError("other parts")
        adoption = value["adoption"]
        return value["csr"].encode(), None if adoption is None else str(adoption).encode()
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        hint = "it is written by `cloister site request`, `person request` or `server request`"
        raise UsageError(f"`{path}` is not a request for a certificate", hint=hint) from error


def join_with(kind: Kind, kit: Path, fingerprint: str, folder: Path, out: Output) -> None:
    """Put the kit of a participant of ``kind`` in place."""
    place = Place.at(folder)
    try:
        content = read_regular(kit, MAXIMUM_BYTES)
    except OSError as error:
        raise UsageError(f"`{kit}` cannot be read") from error
    if not fingerprint:
        claimed = spoken(fingerprint_in(content))
        hint = f"have theirs read to you, compare, and give it with --fingerprint; the kit claims\n{claimed}"
        raise ProvisioningError("whose kit it is cannot be known without the authority's fingerprint", hint=hint)
    joined = join(place.root, place.state.folder, kind, content, fingerprint, datetime.now(UTC))
    name = joined.identity.name
    out.say(
        f"`{name}` has joined `{joined.trust.federation.federation}`: certificate until {joined.not_after:%Y-%m-%d}"
    )
    for document in joined.documents:
        out.say(f"wrote {document}")
    out.result(
        {
            "name": name,
            "kind": kind,
            "federation": joined.trust.federation.federation,
            "roster": joined.trust.version,
            "not_after": joined.not_after.isoformat(),
            "documents": list(joined.documents),
        }
    )


def spoken(fingerprint: str) -> str:
    """A fingerprint in groups of four digits, in lines of eight groups, as people read it to each other."""
    groups = [fingerprint[at : at + 4] for at in range(0, len(fingerprint), 4)]
    return "\n".join("  " + " ".join(groups[at : at + 8]) for at in range(0, len(groups), 8))
