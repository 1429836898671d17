# SPDX-License-Identifier: Apache-2.0
"""Builders, packager, studies and the project's own keys: dropped with a reason, or refused by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from cloister.documents.source import KeyPath, quoted
from cloister.nvflare_project import dropped
from cloister.nvflare_project.model import ADMIN, CLIENT, Built, Study
from cloister.nvflare_project.progress import Progress
from cloister.roster import Authority

_CERTIFICATES = "nvflare.lighter.impl.cert.CertBuilder"
_LONGEST_DAYS = 7300


def builders_of(progress: Progress) -> int:
    """Decide on each builder; how many days the authority's certificate lasts."""
    days = Authority().valid_days
    if progress.project.builders is not None:
        progress.ledger.drop("builders", why=dropped.BUILDERS)
    for index, built in enumerate(progress.project.builders or ()):
        _leave_out(progress, ("builders", index), built)
        if built.path == _CERTIFICATES and built.args and "root_valid_days" in built.args:
            days = _root_days(progress, ("builders", index, "args", "root_valid_days"), built.args["root_valid_days"])
    if progress.project.packager is not None:
        _leave_out(progress, ("packager",), progress.project.packager)
    return days


def _leave_out(progress: Progress, path: KeyPath, built: Built) -> None:
    known = dropped.KNOWN.get(built.path)
    if known is None:
        what = "packager" if path == ("packager",) else "builder"
        near = difflib.get_close_matches(built.path, dropped.KNOWN, n=1, cutoff=0.8)
        hint = f"did you mean `{near[0]}`?" if near else "take it out of a copy of the project file if it may be missed"
        progress.problem((*path, "path"), f"the {what} {quoted(built.path)} is not one of NVFlare's own", hint)
        return
    progress.ledger.drop(*path, why=known.why)
    progress.ledger.drop(*path, "path", why=known.why)
    for key in built.args or {}:
        if known.arguments is None:
            continue
        why = known.arguments.get(key)
        if why is None:
            near = difflib.get_close_matches(key, known.arguments, n=1, cutoff=0.5)
            message = f"`{built.path.rpartition('.')[2]}` takes no {quoted(key)}"
            progress.problem((*path, "args", key), message, f"did you mean `{near[0]}`?" if near else "")
        elif why:
            progress.ledger.drop(*path, "args", key, why=why)


def _root_days(progress: Progress, path: KeyPath, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        progress.problem(path, "`root_valid_days` must be a whole number of days")
        return _LONGEST_DAYS
    days = min(value, _LONGEST_DAYS)
    became = f"authority.valid_days: {days}"
    if days == value:
        progress.ledger.keep(*path, became=became)
    else:
        why = f"an authority lasts {_LONGEST_DAYS} days at most, and can be followed by another (docs/provisioning.md)"
        progress.ledger.change(*path, became=became, why=why)
    return days


def project_keys(progress: Progress) -> None:
    """Decide on what the project says of itself and for participants that do not say."""
    project, ledger = progress.project, progress.ledger
    ledger.keep("participants")
    ledger.drop("api_version", why="says how the project file is to be read; documents here are read by their models")
    if project.description is not None:
        ledger.change(
            "description", became="a remark in provisioning/federation.yaml", why="the roster has no description"
        )
    if project.edge is not None:
        hint = "there is nobody to take over: name relays, clients and admins in a project file of their own"
        message = (
            "`edge` has NVFlare make up relays and clients for trials, and the participants in the file are not used"
        )
        progress.problem(("edge",), message, hint)
    for key in ("allow_log_streaming", "connection_security", "custom_ca_cert"):
        if key in project.model_fields_set:
            ledger.drop(key, why=dropped.PARTICIPANT_KEYS[key])


def studies_of(progress: Progress) -> Mapping[str, tuple[str, ...]]:
    """Decide on studies; remarks for the policies of the clients that they name, by the client's name."""
    project = progress.project
    if project.studies is None:
        return {}
    if project.api_version != 4:
        progress.problem(("studies",), "`studies` needs `api_version: 4`", "NVFlare asks for it as well")
    progress.ledger.drop("studies", why=dropped.STUDIES)
    remarks: dict[str, tuple[str, ...]] = {}
    for name, study in project.studies.items():
        progress.ledger.drop("studies", name, why=f"{dropped.STUDIES}; see the remark in each site's policy")
        for client in _sites_in(progress, name, study or Study()):
            admins = ", ".join((study and study.admins) or ()) or "nobody"
            remark = f"Study `{name}` of the project file named this site; its people there: {admins}."
            remarks[client] = (*remarks.get(client, ()), remark)
    return remarks


def _sites_in(progress: Progress, name: str, study: Study) -> list[str]:
    everybody = {each.name: each for each in progress.project.participants}
    for index, admin in enumerate(study.admins or ()):
        if admin not in everybody or everybody[admin].type != ADMIN:
            progress.problem(("studies", name, "admins", index), f"study {quoted(name)} names no admin {quoted(admin)}")
    found = []
    for organisation, clients in (study.site_orgs or {}).items():
        for index, client in enumerate(clients):
            entry = everybody.get(client)
            if entry is None or entry.type != CLIENT or entry.org != organisation:
                message = f"study {quoted(name)} names {quoted(client)}, which is no client of {quoted(organisation)}"
                progress.problem(("studies", name, "site_orgs", organisation, index), message)
            found.append(client)
    return found
