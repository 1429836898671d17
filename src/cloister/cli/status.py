# SPDX-License-Identifier: Apache-2.0
"""`cloister status`: what runs, who is connected, and which keys and policies are in order."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from cloister.certificates import identities, startup_folder
from cloister.cli.officers import anchors_of, has_key, lapses_soon
from cloister.cli.options import FolderOption, JsonOption, federation_of, output, repository
from cloister.errors import CloisterError
from cloister.flare.connected import has_connection
from cloister.flare.processes import LocalFederation
from cloister.flare.registration import has_registered
from cloister.flare.session import connect
from cloister.governance.in_force import check_dates, policy_in_force
from cloister.governance.policy_versions import PolicyVersions
from cloister.provisioning import Fault, Standing, inspect
from cloister.repository import Repository
from cloister.sandbox import missing
from cloister.trust import roster_file


def status(folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Show processes, connections, certificates and policies."""
    del as_json
    repo = repository(folder)
    local = federation_of(repo)
    standings = _here(local, inspect(local.state.folder, local.federation, datetime.now(UTC)))
    authority = next((_trust(each) for each in standings if each.kind == "authority"), None)
    people = [_trust(each) for each in standings if each.kind == "person"]
    processes = _processes(repo, local, [each for each in standings if each.kind in ("server", "site")])
    _show(authority, processes, people)
    output().say(f"port: {local.remembered_port() or 'none yet'}; sandbox: {missing() or 'bubblewrap'}")
    output().result(
        {
            "authority": authority,
            "processes": processes,
            "people": people,
            "port": local.remembered_port(),
            "sandbox": missing() or "bubblewrap",
        }
    )


def _here(local: LocalFederation, standings: list[Standing]) -> list[Standing]:
    """Without those who are on other machines, where somebody has joined on this one; else everybody."""
    workspaces = {each.name: startup_folder(local.state.folder, each).parent for each in identities(local.federation)}
    names = {name for name, workspace in workspaces.items() if workspace.exists()}
    if not any(roster_file(workspaces[name]).exists() for name in names):
        return standings
    return [each for each in standings if each.kind == "authority" or each.name in names]


def _trust(standing: Standing) -> dict[str, Any]:
    """How one line of provisioning's stands: problems in a word each, and each finding but a missing file in full."""
    told = [finding for finding in standing.findings if finding.fault is not Fault.MISSING]
    return {
        "name": standing.name,
        "certificate_days": standing.days_left,
        "problems": [str(fault) for fault in standing.problems],
        "findings": [f"{each.message} ({each.hint})" if each.hint else each.message for each in told],
    }


def _processes(repo: Repository, local: LocalFederation, standings: list[Standing]) -> list[dict[str, Any]]:
    running, server = local.running(), local.federation.server.name
    told = _connected(local) if server in running else None
    rows: list[dict[str, Any]] = []
    for standing in standings:
        name, trust = standing.name, _trust(standing)
        policy = None if name == server or name not in repo.policies else _policy(repo, local, name)
        if policy is not None:
            trust["problems"] += policy.pop("problems")
        pid = running[name].pid if name in running else None
        connection = None if name == server else _is_connected(local, name, told)
        rows.append(trust | {"pid": pid, "connected": connection, "policy": policy})
    return rows


def _show(authority: dict[str, Any] | None, processes: list[dict[str, Any]], people: list[dict[str, Any]]) -> None:
    table = Table("name", "process", "connected", "certificate", "policy", "problems", box=None, pad_edge=False)
    rows = [*([authority | {"name": "authority"}] if authority else []), *processes, *people]
    for row in rows:
        days = row["certificate_days"]
        table.add_row(
            row["name"],
            str(row["pid"] or "not running") if "pid" in row else "",
            {None: "", True: "yes", False: "no"}[row.get("connected")],
            "-" if days is None else f"{days} days left",
            _shown(row.get("policy")),
            "; ".join(row["problems"]) or "none",
        )
    out = output()
    out.say(table)
    if any(Fault.MISSING in row["problems"] for row in rows):
        out.say("what is missing is made by `cloister provision`, or comes with a kit from another machine's authority")
    for row in rows:
        for finding in row["findings"]:
            out.say(f"{row['name']}: {finding}")
    if any(row["problems"] for row in rows):
        out.say("what to do about each, and what else may be wrong: cloister doctor")


def _is_connected(local: LocalFederation, site: str, told: list[str] | None) -> bool:
    """Whether ``site`` is connected: as the server ``told``, or as can be seen of its process here."""
    if told is not None:
        return site in told
    running, port = local.running().get(site), local.remembered_port()
    if running is None or port is None:
        return False
    return has_registered(local.state.site(site), running.started) and has_connection(running.pid, port)


def _connected(local: LocalFederation) -> list[str] | None:
    """The sites that are connected to the server here, as it tells whoever has a key here; None where nobody has."""
    person = next((each.name for each in local.federation.people if has_key(local, each.name)), None)
    if person is None:
        return None
    try:
        with connect(local.state.person(person), person) as session:
            return session.connected_sites()
    except CloisterError:
        return []


def _policy(repo: Repository, local: LocalFederation, site: str) -> dict[str, Any]:
    """What is in force at a site, or why it takes no jobs."""
    policies, now = repo.policies_of(site), datetime.now(UTC)
    problems = [] if policies.sandbox == "required" else ["sandbox: unsafe-none"]
    said: dict[str, Any] = {"version": policies.site.value.version, "signed_by": None, "until": None}
    try:
        for document in (policies.site, policies.baseline):
            check_dates(document, now)  # told also where nothing is provisioned yet
        versions = PolicyVersions(local.state.site(site))
        found = policy_in_force(repo.root, site, local.federation, anchors_of(local), versions, now, take_up=False)
        said |= {"signed_by": found.signed.by, "until": found.until.isoformat()}
        pairs = ((policies.site, found.signed), (policies.baseline, found.baseline_signed))
        problems += [told for policy, signed in pairs if (told := lapses_soon(policy, signed, now.date()))]
    except CloisterError as error:
        problems.append(f"takes no jobs: {error}")
    return said | {"problems": problems}


def _shown(policy: dict[str, Any] | None) -> str:
    if policy is None:
        return ""
    if policy["signed_by"] is None:
        return "not in force"
    return f"version {policy['version']}, signed by {policy['signed_by']}, until {policy['until']}"
