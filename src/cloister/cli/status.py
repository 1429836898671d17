# SPDX-License-Identifier: Apache-2.0
"""`cloister status`: what runs, who is connected, and which keys and policies are in order."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from cloister.cli.options import FolderOption, JsonOption, federation_of, output, repository
from cloister.errors import CloisterError
from cloister.flare.processes import LocalFederation
from cloister.flare.session import connect
from cloister.provisioning import inspect
from cloister.repository import Repository
from cloister.sandbox import missing


def status(folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Show the federation's processes, connections, certificates and policies on this machine."""
    del as_json
    repo = repository(folder)
    local = federation_of(repo)
    running = local.running()
    connected = _connected(local) if local.federation.server.name in running else []
    trust = {entry.name: entry for entry in inspect(local.state.folder, local.federation, datetime.now(UTC))}
    rows: list[dict[str, Any]] = []
    for name in local.names:
        entry = trust.get(name)
        rows.append(
            {
                "name": name,
                "pid": running[name].pid if name in running else None,
                "connected": name in connected if name != local.federation.server.name else None,
                "certificate_days": entry.days_left if entry else None,
                "problems": [*(entry.problems if entry else ["missing"]), *_policy_problems(repo, name)],
            }
        )
    _show(rows, local)
    output().result({"processes": rows, "port": local.remembered_port(), "sandbox": missing() or "bubblewrap"})


def _show(rows: list[dict[str, Any]], local: LocalFederation) -> None:
    out = output()
    table = Table("name", "process", "connected", "certificate", "problems", box=None, pad_edge=False)
    for row in rows:
        connected = {None: "", True: "yes", False: "no"}[row["connected"]]
        days = row["certificate_days"]
        table.add_row(
            row["name"],
            str(row["pid"] or "not running"),
            connected,
            "-" if days is None else f"{days} days left",
            "; ".join(row["problems"]) or "none",
        )
    out.say(table)
    out.say(f"port: {local.remembered_port() or 'none yet'}; sandbox: {missing() or 'bubblewrap'}")


def _connected(local: LocalFederation) -> list[str]:
    person = local.federation.people[0].name
    try:
        with connect(local.state.person(person), person) as session:
            return session.connected_sites()
    except CloisterError:
        return []


def _policy_problems(repo: Repository, site: str) -> list[str]:
    if site not in repo.silos:
        return []
    policies = repo.policies_of(site)
    today = datetime.now(UTC).date()
    documents = (policies.site, policies.baseline)
    problems = [
        f"policy `{document.value.policy}` is not valid today ({document.source.at('valid_from')})"
        for document in documents
        if not document.value.valid_from <= today <= document.value.valid_until
    ]
    if policies.sandbox != "required":
        problems.append("sandbox: unsafe-none")
    return problems
