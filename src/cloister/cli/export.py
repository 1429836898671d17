# SPDX-License-Identifier: Apache-2.0
"""`cloister export`: the federation as a plain NVFlare project with its kits."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from cloister.certificates import identities
from cloister.cli.options import FolderOption, JsonOption, federation_of, output, repository
from cloister.errors import UsageError
from cloister.files import private_folder, write_atomically
from cloister.flare.export import export_kits
from cloister.nvflare_project.model import DEFAULT_PORT
from cloister.nvflare_project.plain import LOST, project_text

PROJECT, KITS, PAGE = "project.yml", "kits", "EXPORTED.md"


def export(
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="A new folder; yours alone, as keys go into it.")],
    unsafe_plain_keys: Annotated[
        bool, typer.Option("--unsafe-plain-keys", help="Write encrypted keys without encryption, as NVFlare needs.")
    ] = False,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write a plain NVFlare project, and kits for it.

    What stands in the documents and has no counterpart in NVFlare is lost; it is said what that is.
    """
    del as_json
    repo = repository(folder)
    local = federation_of(repo)
    roster, out = repo.federation.value, output()
    if to.is_symlink() or (to.exists() and (not to.is_dir() or any(to.iterdir()))):
        raise UsageError(f"`{to}` is there already, and is not replaced", hint="name a folder that is not there yet")
    configured = roster.server.port
    port = configured if isinstance(configured, int) else local.state.remembered_port() or DEFAULT_PORT
    to.absolute().parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=to.absolute().parent, prefix=f".{to.name}."))
    try:
        write_atomically(draft / PROJECT, project_text(roster, port).encode())
        write_atomically(draft / PAGE, _page(roster.federation).encode())
        made, left = export_kits(
            roster,
            identities(roster),
            local.state.folder,
            port,
            private_folder(draft / KITS),
            open_keys=unsafe_plain_keys,
        )
        draft.rename(to.absolute())
    except BaseException:
        shutil.rmtree(draft)
        raise
    out.say(f"wrote {to / PROJECT} and {len(made)} kits in {to / KITS}")
    for each in left:
        out.say(f"  no kit for {each.name}, who {each.why}")
    out.say("without Cloister:")
    for sentence in LOST:
        out.say(f"  {sentence}")
    out.result(
        {
            "project": str(to / PROJECT),
            "kits": list(made),
            "without_kit": [{"name": each.name, "why": each.why} for each in left],
            "lost": list(LOST),
        }
    )


def _page(federation: str) -> str:
    lost = "\n".join(f"- {each}" for each in LOST)
    return f"""\
# {federation} as a plain NVFlare project

`{PROJECT}` is what `nvflare provision -p {PROJECT}` makes new kits and a new authority from. `{KITS}/` holds a kit for
each participant whose key was on this machine, with the key and certificate that they have: start it with
`startup/start.sh`, or with `startup/fl_admin.sh` for a person. **Keys lie in it without encryption.**

Organisations have underscores in place of hyphens in the project file, because NVFlare takes no others; in the kits'
certificates they are as before. The kits' `local/authorization.json` gives our roles the rights of NVFlare's.

## Without Cloister

{lost}
"""
