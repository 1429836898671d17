# SPDX-License-Identifier: Apache-2.0
"""`cloister authority list`: who has which certificate, until when, and what was revoked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from cloister.certificates import identities, pem
from cloister.cli.authority_here import AuthorityHere
from cloister.cli.options import FolderOption, JsonOption, output
from cloister.provisioning.publication import latest_roster
from cloister.provisioning.renewal import is_overdue
from cloister.provisioning.revoking import living_by_name, revoked
from cloister.provisioning.rotation import not_renewed
from cloister.trust.mailbox import requests_in


def list_issued(folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Show certificates, waiting requests and revocations."""
    del as_json
    here, now, out = AuthorityHere.at(folder), datetime.now(UTC), output()
    rows: list[dict[str, Any]] = []
    waiting, everybodys = requests_in(here.mailbox), living_by_name(here.authority, now)
    for identity in identities(here.federation):
        living = everybodys.get(identity.name, ())
        newest = living[-1] if living else None
        rows.append(
            {
                "name": identity.name,
                "kind": identity.kind,
                "not_after": newest.not_valid_after_utc.isoformat() if newest else None,
                "fingerprint": pem.fingerprint(newest) if newest else None,
                "certificates": len(living),
                "overdue": bool(newest and is_overdue(newest, now)),
                "waiting": identity.name in waiting,
            }
        )
    taken_back = [vars(each) for each in revoked(here.authority.folder)]
    latest = latest_roster(here.authority)
    _show(here, rows, latest[1].version if latest else 0)
    for each in taken_back:
        out.say(f"revoked: `{each['name']}` on {each['revoked_at']:%Y-%m-%d}: {each['reason']}")
    handing_over = not_renewed(here.authority, here.federation, now) if len(here.authority.roots) > 1 else ()
    if handing_over:
        out.say(f"not renewed by the new authority yet: {', '.join(handing_over)}")
    out.result(
        {
            "fingerprint": here.authority.fingerprint,
            "roster": latest[1].version if latest else None,
            "stale_from": latest[1].next_update.isoformat() if latest else None,
            "authorities": [pem.fingerprint(root) for root in here.authority.roots],
            "certificates": rows,
            "revoked": taken_back,
        }
    )


def _show(here: AuthorityHere, rows: list[dict[str, Any]], version: int) -> None:
    table = Table("name", "kind", "valid until", "", box=None, pad_edge=False)
    for row in rows:
        until = row["not_after"][:10] if row["not_after"] else "no certificate"
        said = [word for word, holds in (("asks for renewal", row["waiting"]), ("overdue", row["overdue"])) if holds]
        table.add_row(row["name"], row["kind"], until, "; ".join(said))
    output().say(table)
    output().say(f"roster version {version}; fingerprint of the authority {here.authority.fingerprint}")
