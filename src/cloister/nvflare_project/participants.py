# SPDX-License-Identifier: Apache-2.0
"""Server, clients and admins: everybody who takes part keeps their place, under a name that fits here."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from cloister.documents.source import quoted
from cloister.nvflare_project import dropped, names
from cloister.nvflare_project.model import (
    ADMIN,
    CLIENT,
    DEFAULT_PORT,
    OVERSEER,
    RELAY,
    SERVER,
    ProjectParticipant,
)
from cloister.nvflare_project.progress import Progress
from cloister.nvflare_project.roles import role_of
from cloister.nvflare_project.skeletons import NamedPerson, NamedServer, NamedSite
from cloister.roster import HostName, Role

_HOST: TypeAdapter[str] = TypeAdapter(HostName)
_LEAST_PORT = 1024
_KINDS = {SERVER: "server", CLIENT: "an entry of sites", ADMIN: "an entry of people"}


@dataclass(frozen=True)
class Kept:
    """A participant that takes part here as well.

    Attributes:
        line: where it stands in the project file.
        was: its name there.
        name: its name here.
        kind: what it is here.
        role: a person's; empty for the others.
    """

    line: int
    was: str
    name: str
    kind: str
    role: str = ""


def server_of(progress: Progress, index: int) -> NamedServer:
    """The server that stands at ``index``."""
    said, at = progress.project.participants[index], ("participants", index)
    name = progress.name((*at, "name"), said.name, names.server, kind="participant")
    organisation = _organisation(progress, index, said)
    host = said.default_host or said.name
    others = tuple(dict.fromkeys(each for each in said.hosts if each != host))
    for key, hosts in (("default_host" if said.default_host else "name", (host,)), ("host_names", others)):
        for each in hosts:
            _check_host(progress, (*at, key), each)
    if said.default_host is not None:
        progress.ledger.keep(*at, "default_host", became=f"server.host: {host}")
    if said.host_names is not None:
        progress.ledger.keep(*at, "host_names", became=f"server.other_hosts: [{', '.join(others)}]")
    return NamedServer(name, said.name, organisation, host, others, _port(progress, index, said))


def site_of(progress: Progress, index: int, studies: tuple[str, ...]) -> NamedSite:
    """The client that stands at ``index``, with a remark for each study that names it."""
    said = progress.project.participants[index]
    name = progress.name(("participants", index, "name"), said.name, names.site, kind="participant")
    _leave_host_keys(progress, index)
    return NamedSite(name, said.name, _organisation(progress, index, said), studies)


def person_of(progress: Progress, index: int) -> NamedPerson:
    """The admin who stands at ``index``."""
    said = progress.project.participants[index]
    name = progress.name(("participants", index, "name"), said.name, names.person, kind="participant")
    _leave_host_keys(progress, index)
    role, had = _role(progress, index, said)
    return NamedPerson(name, said.name, _organisation(progress, index, said), role, had)


def leave_out(progress: Progress, index: int, said: ProjectParticipant, *, second_server: bool) -> None:
    """Drop what is no participant here: relays, overseers, further servers."""
    reasons = {SERVER: dropped.SECOND_SERVER if second_server else "", RELAY: dropped.RELAY, OVERSEER: dropped.OVERSEER}
    if why := reasons.get(said.type):
        progress.ledger.drop("participants", index, why=why)
        progress.ledger.drop("participants", index, "name", why=why)


def _organisation(progress: Progress, index: int, said: ProjectParticipant) -> str:
    progress.ledger.keep("participants", index)
    progress.ledger.keep("participants", index, "type", became=_KINDS[said.type])
    for key, why in dropped.PARTICIPANT_KEYS.items():
        if key in said.model_fields_set:
            progress.ledger.drop("participants", index, key, why=why)
    return progress.name(("participants", index, "org"), said.org, names.word, kind="organisation")


def _leave_host_keys(progress: Progress, index: int) -> None:
    for key in ("fed_learn_port", "default_host", "host_names", "role", "roles"):
        if key in progress.project.participants[index].model_fields_set:
            progress.ledger.drop("participants", index, key, why="means nothing for a participant of this type")


def _port(progress: Progress, index: int, said: ProjectParticipant) -> int:
    port, path = said.fed_learn_port, ("participants", index, "fed_learn_port")
    if port is None:
        return DEFAULT_PORT
    if port < _LEAST_PORT:
        hint = f"give it a port from {_LEAST_PORT} up in a copy of the project file, and let the firewall pass it there"
        progress.problem(path, f"the server listens on port {port}, for which it would have to run as root", hint)
    progress.ledger.keep(*path, became=f"server.port: {port}")
    return port


def _check_host(progress: Progress, path: tuple[str | int, ...], host: str) -> None:
    try:
        _HOST.validate_python(host)
    except ValidationError:
        hint = "give the server a `default_host`, the name or address that sites dial"
        progress.problem(path, f"{quoted(host)} is no host that a certificate could name", hint)


def _role(progress: Progress, index: int, said: ProjectParticipant) -> tuple[Role, str]:
    key = "roles" if said.role is None and said.roles is not None else "role"
    had = [said.role] if said.role is not None else list(said.roles or ())
    asked = progress.choices.roles.get(said.name)
    path = ("participants", index, key)
    if not had:
        progress.problem(path, f"the admin {quoted(said.name)} has no `role`", "NVFlare asks for one as well")
        return Role.COMPLIANCE_OFFICER, ""
    if asked is None and len(had) > 1:
        hint = f"say which one with --role {said.name}=ROLE"
        progress.problem(path, f"the admin {quoted(said.name)} has {len(had)} roles, and a person here has one", hint)
    role, why = (asked, "as was asked") if asked is not None else role_of(had[0])
    progress.ledger.change(*path, became=f"role: {role}", why=why)
    if said.role is not None and said.roles is not None:
        progress.ledger.drop("participants", index, "roles", why="`role` counts where both are given")
    return role, ", ".join(had)
