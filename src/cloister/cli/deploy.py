# SPDX-License-Identifier: Apache-2.0
"""`cloister deploy`: files with which a machine keeps the server or a site running, made from the documents."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cloister import __version__
from cloister.cli.options import FolderOption, JsonOption, output
from cloister.deploy.compose import compose_files
from cloister.deploy.helm import helm_files
from cloister.deploy.launchers import PROCESS, check_launcher
from cloister.deploy.reading import read_service
from cloister.deploy.systemd import Machine, authority_units, systemd_files
from cloister.deploy.written import write_files
from cloister.documents import load
from cloister.errors import UsageError
from cloister.repository import find_root
from cloister.roster import ROSTER, Federation, Role

app = typer.Typer(help="Files for systemd, Docker Compose and Kubernetes.", no_args_is_help=True)

AUTHORITY = "authority"

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The server or a site, as the roster names it.")]
UnitArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The server or a site; or `authority`, for renewals that come due.")
]
OutOption = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where to write; made where it is missing.")]
AtOption = Annotated[
    str, typer.Option("--at", metavar="FOLDER", help="The federation's folder on the machine; this one if not given.")
]
PassphraseOption = Annotated[bool, typer.Option("--passphrase", help="The key is encrypted: ask for its passphrase.")]
MemoryOption = Annotated[
    float | None,
    typer.Option("--memory", metavar="GIB", min=1, max=65536, help="The most that all its processes may use, in GiB."),
]
LauncherOption = Annotated[
    str, typer.Option("--launcher", metavar="NAME", help="How jobs are started: `process`, and no other way.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that were edited by hand.")]


@app.command("systemd")
def systemd(
    name: UnitArgument,
    out: OutOption,
    at: AtOption = "",
    program: Annotated[
        str,
        typer.Option("--program", metavar="FILE", help="The command `cloister` there; the running one if not given."),
    ] = "",
    user: Annotated[str, typer.Option("--user", metavar="USER", help="Who owns the keys.")] = "cloister",
    person: Annotated[
        str, typer.Option("--as", metavar="PERSON", help="With `authority` elsewhere than the server: who goes there.")
    ] = "",
    passphrase: PassphraseOption = False,
    memory: MemoryOption = None,
    launcher: LauncherOption = PROCESS,
    force: ForceOption = False,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write a hardened unit for systemd."""
    del as_json
    check_launcher(launcher)
    root = find_root(folder.resolve())
    runtime = () if program else (sys.prefix, sys.base_prefix)
    own = str(Path(sys.executable).with_name("cloister"))
    machine = Machine(at or str(root), program or own, user, passphrase, runtime)
    if name == AUTHORITY:
        roster = load(root / ROSTER, Federation, name=ROSTER).value
        found = roster.person(person)
        if person and (found is None or found.role is not Role.IT_ADMIN):
            raise UsageError(f"`{person}` is no it-admin of the roster", hint=f"see people in {ROSTER}")
        files = authority_units(roster.federation, machine, person)
    else:
        files = systemd_files(read_service(root, name, memory), machine)
    _write(out, files, force=force)


@app.command("compose")
def compose(
    name: NameArgument,
    out: OutOption,
    at: AtOption = "",
    passphrase: PassphraseOption = False,
    memory: MemoryOption = None,
    launcher: LauncherOption = PROCESS,
    force: ForceOption = False,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write a Compose file and the image that it builds."""
    del as_json
    check_launcher(launcher)
    root = find_root(folder.resolve())
    service = read_service(root, name, memory)
    _write(out, compose_files(service, at or str(root), version=__version__, passphrase=passphrase), force=force)


@app.command("helm")
def helm(
    name: NameArgument,
    out: OutOption,
    image: Annotated[
        str, typer.Option("--image", metavar="IMAGE", help="The image's name, with its registry.")
    ] = f"cloister:{__version__}",
    passphrase: PassphraseOption = False,
    memory: MemoryOption = None,
    launcher: LauncherOption = PROCESS,
    force: ForceOption = False,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write a Helm chart."""
    del as_json
    check_launcher(launcher)
    service = read_service(find_root(folder.resolve()), name, memory)
    _write(out, helm_files(service, version=__version__, image=image, passphrase=passphrase), force=force)


def _write(folder: Path, files: Mapping[str, str], *, force: bool) -> None:
    written = write_files(folder, files, force=force)
    out = output()
    for name in written.made:
        out.say(f"{folder / name}: written")
    for name in written.kept:
        out.say(f"{folder / name}: as it should be already")
    out.result({"folder": str(folder), **{key: list(names) for key, names in vars(written).items()}})
