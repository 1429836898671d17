# SPDX-License-Identifier: Apache-2.0
"""Start-up kits as NVFlare's own tools make and start them, for whoever leaves: our keys in NVFlare's configuration.

NVFlare's builders write all but keys and certificates. Those are the ones that the participants have, so whoever is
known to a federation that runs without Cloister is known as before.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvflare.lighter.entity import Project
from nvflare.lighter.impl.static_file import StaticFileBuilder
from nvflare.lighter.impl.workspace import WorkspaceBuilder
from nvflare.lighter.provision import prepare_project
from nvflare.lighter.provisioner import Provisioner

from cloister.certificates import Identity, PrivateKey, startup_folder
from cloister.certificates.keys import is_encrypted
from cloister.errors import ProvisioningError
from cloister.files import PRIVATE_FILE, PRIVATE_FOLDER, private_folder, write_atomically, write_json, write_once
from cloister.nvflare_project import plain
from cloister.provisioning import KitPaths
from cloister.roster import Federation

_RUNNABLE = 0o100


@dataclass(frozen=True)
class Left:
    """A participant for whom no kit was made.

    Attributes:
        name: whose.
        why: the reason, as the end of a sentence.
    """

    name: str
    why: str


def export_kits(
    federation: Federation, everybody: Iterable[Identity], state: Path, port: int, folder: Path, *, open_keys: bool
) -> tuple[tuple[str, ...], tuple[Left, ...]]:
    """Write a kit into ``folder`` for each participant whose key lies in ``state``.

    Args:
        federation: the roster.
        everybody: whose kits are wanted.
        state: the state folder.
        port: where the server listens.
        folder: an empty folder.
        open_keys: whether keys that are encrypted are written without encryption, which NVFlare needs.

    Returns:
        Who has a kit now, and who has none and why.

    Raises:
        ProvisioningError: where a key or a certificate is unsafe or unreadable, or NVFlare's builders fail.
    """
    here: dict[str, tuple[KitPaths, Identity]] = {}
    left: list[Left] = []
    for identity in everybody:
        paths = KitPaths.of(startup_folder(state, identity), identity)
        if why := _missing(paths, open_keys=open_keys):
            left.append(Left(identity.name, why))
        else:
            here[identity.name] = (paths, identity)
    if here:
        with tempfile.TemporaryDirectory(dir=folder) as build:
            made = _built(plain.project(federation, port), Path(build))
            for name, (paths, _) in here.items():
                kit = made / name
                _make_private(kit)
                _grant(kit)
                _lay_keys(kit / "startup", paths)
                kit.rename(folder / name)
    return tuple(here), tuple(left)


def _missing(paths: KitPaths, *, open_keys: bool) -> str:
    for path, what in ((paths.key, "key"), (paths.certificate, "certificate"), (paths.root, "root")):
        if not path.exists():
            return f"has no {what} on this machine"
    if is_encrypted(paths.key) and not open_keys:
        return "has an encrypted key, which NVFlare cannot open"
    return ""


def _built(project: Mapping[str, Any], folder: Path) -> Path:
    """NVFlare's kits for everybody, without keys."""
    arguments = next(each["args"] for each in project["builders"] if each["path"].endswith(".StaticFileBuilder"))
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            plan: Project = prepare_project(dict(project))
            builders = [WorkspaceBuilder(), StaticFileBuilder(**arguments)]
            made = Provisioner(str(folder), builders).provision(plan, logger=_Silent()).get_result_location()
    except Exception as error:
        raise ProvisioningError("NVFlare's own builders cannot make kits of the roster") from error
    if not made:
        raise ProvisioningError("NVFlare's own builders could not make kits of the roster")
    return Path(made)


class _Silent:
    """What NVFlare's builders report to; an error of theirs shows as kits that are not there."""

    def debug(self, _message: str) -> None: ...
    def info(self, _message: str) -> None: ...
    def warning(self, _message: str) -> None: ...
    def error(self, _message: str) -> None: ...


def _make_private(kit: Path) -> None:
    for path in (kit, *kit.rglob("*")):
        runnable = path.stat().st_mode & _RUNNABLE
        path.chmod(PRIVATE_FOLDER if path.is_dir() or runnable else PRIVATE_FILE)


def _grant(kit: Path) -> None:
    """Give the roles in our certificates the rights of the roles that NVFlare knows."""
    default = kit / "local" / "authorization.json.default"
    if not default.exists():  # a person's kit has none
        return
    rights = json.loads(default.read_text(encoding="utf-8"))
    permissions = rights["permissions"]
    permissions |= {ours.value: permissions[theirs] for ours, theirs in plain.ROLES.items()}
    write_json(kit / "local" / "authorization.json", rights)


def _lay_keys(startup: Path, paths: KitPaths) -> None:
    private_folder(startup)
    write_atomically(startup / paths.certificate.name, paths.certificate.read_bytes())
    write_atomically(startup / paths.root.name, paths.root.read_bytes())
    write_once(startup / paths.key.name, PrivateKey.load(paths.key).opened_pem())
