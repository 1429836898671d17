# SPDX-License-Identifier: Apache-2.0
"""`cloister provision`: keys and certificates for everybody in the roster."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from cloister.cli.options import FolderOption, JsonOption, federation_of, output, repository
from cloister.provisioning import provision as make_identities
from cloister.provisioning import retired


def provision(folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Make keys and certificates for everybody in the roster.

    What is there and still right is kept; no key is ever overwritten.
    """
    del as_json
    repo = repository(folder)
    local = federation_of(repo)
    local.state.make()
    out = output()
    out.say("making keys and certificates …")
    issued = make_identities(repo.federation.value, local.state.folder, datetime.now(UTC))
    table = Table("name", "kind", "valid until", "", box=None, pad_edge=False)
    for entry in issued:
        became = "made" if entry.created else "revoked" if entry.revoked else "kept"
        table.add_row(entry.identity.name, entry.identity.kind, f"{entry.not_after:%Y-%m-%d}", became)
    out.say(table)
    gone = [path.relative_to(local.root).as_posix() for path in retired(repo.federation.value, local.state.folder)]
    for path in gone:
        out.say(f"{path}: no longer in the roster; its certificate counts until it ends, and its key is still there")
    values = [
        {
            "name": entry.identity.name,
            "kind": entry.identity.kind,
            "not_after": entry.not_after.isoformat(),
            "fingerprint": entry.fingerprint,
            "created": entry.created,
            "revoked": entry.revoked,
        }
        for entry in issued
    ]
    out.result({"issued": values, "retired": gone})
