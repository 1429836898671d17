# SPDX-License-Identifier: Apache-2.0
"""The way back: a roster as a project file that NVFlare 2.9 provisions from (`nvflare provision -p project.yml`).

NVFlare's names hold other letters than ours: an organisation may have underscores and no hyphens, a role is one of its
four, an admin's domain has an ending. What NVFlare could not read is refused, and never written another way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from cloister.errors import ProvisioningError
from cloister.nvflare_project.model import ADMIN, CLIENT, SERVER
from cloister.roster import Federation, Role

ROLES: Mapping[Role, str] = {
    Role.DATA_SCIENTIST: "lead",
    Role.COMPLIANCE_OFFICER: "member",
    Role.IT_ADMIN: "project_admin",
}
"""By our role the one of NVFlare's that can do the same work; the last can do everything there."""

LOST = (
    "whoever may submit a job may run any program at every site, as the site's own user, with its key in reach",
    "no site's policy is asked: not for purposes, datasets, columns, records, or what leaves the site",
    "training code has the network, and the site's files",
    "an `it-admin` becomes `project_admin`, who may do everything everywhere, commands at sites included",
    "no certificate is renewed, and none is revoked: anybody with a certificate of the authority may join",
    "a job that loses a process fails or hangs, and a server that restarts does not go on with it",
    "what was decided and what left a site is in no log that could be verified",
)
"""What Cloister's protection was, in a sentence each, for whoever goes back."""

_HOST = re.compile(
    r"(([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])\.)*([A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
)
_ADMIN = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")


def organisation(name: str) -> str:
    """What an organisation is called in a project file."""
    return name.replace("-", "_")


def project(federation: Federation, port: int) -> dict[str, Any]:
    """The project file as plain values.

    Args:
        federation: the roster.
        port: where the server listens, which a roster may leave open.

    Raises:
        ProvisioningError: where NVFlare could not read a name.
    """
    server = federation.server
    for host in (server.host, *server.other_hosts):
        if not _HOST.fullmatch(host):
            hint = "NVFlare takes host names and IPv4 addresses; give the server one of those"
            raise ProvisioningError(f"NVFlare takes no host `{host}`", hint=hint)
    for person in federation.people:
        if not _ADMIN.fullmatch(person.name):
            hint = "NVFlare's admins are called like mail addresses whose domain has an ending, such as `.org`"
            raise ProvisioningError(f"NVFlare takes no admin called `{person.name}`", hint=hint)
    others = [host for host in server.other_hosts if host != server.host]
    return {
        "api_version": 3,
        "name": federation.federation,
        "description": f"the federation {federation.federation}, written by `cloister export`",
        "participants": [
            {
                "name": server.name,
                "type": SERVER,
                "org": organisation(server.organisation),
                "fed_learn_port": port,
                "default_host": server.host,
                **({"host_names": others} if others else {}),
            },
            *(
                # A site's log may hold what was in its records, and is not streamed to the server unless it says so.
                {
                    "name": site.name,
                    "type": CLIENT,
                    "org": organisation(site.organisation),
                    "allow_log_streaming": False,
                }
                for site in federation.sites
            ),
            *(
                {
                    "name": person.name,
                    "type": ADMIN,
                    "org": organisation(person.organisation),
                    "role": ROLES[person.role],
                }
                for person in federation.people
            ),
        ],
        "builders": [
            {"path": "nvflare.lighter.impl.workspace.WorkspaceBuilder"},
            {
                "path": "nvflare.lighter.impl.static_file.StaticFileBuilder",
                "args": {"config_folder": "config", "scheme": "grpc", "require_signed_jobs": True},
            },
            {
                "path": "nvflare.lighter.impl.cert.CertBuilder",
                "args": {"root_valid_days": federation.authority.valid_days},
            },
            {"path": "nvflare.lighter.impl.signature.SignatureBuilder"},
        ],
    }


def project_text(federation: Federation, port: int) -> str:
    """The project file; see `project`."""
    lost = "".join(f"#   - {each}\n" for each in LOST)
    return (
        f"# The federation {federation.federation} as a plain NVFlare project, written by `cloister export`.\n"
        "#\n"
        "# Provision from it:   nvflare provision -p project.yml\n"
        "#\n"
        "# Without Cloister:\n"
        f"{lost}\n" + yaml.safe_dump(project(federation, port), sort_keys=False, width=110)
    )
