# SPDX-License-Identifier: Apache-2.0
"""Reads what a service is made from: the documents that its own machine has, and no others."""

from __future__ import annotations

from pathlib import Path

from cloister.deploy.service import Service, server_service, site_service
from cloister.documents import load
from cloister.errors import UsageError
from cloister.files import read_regular
from cloister.governance.policy_signature import signature_file
from cloister.governance.revocation import FOLDER as REVOKED
from cloister.repository import load_site
from cloister.roster import ROSTER, Federation

_MAXIMUM_BYTES = 256 * 1024


def read_service(root: Path, name: str, memory_gib: float | None = None) -> Service:
    """The service called ``name``.

    Args:
        root: the federation's folder. Of a site, its silo document, its policy and the baseline are read as well.
        name: the server's or a site's, as the roster has it.
        memory_gib: the most that it may use, where not what follows from its documents.

    Raises:
        UsageError: where the roster has no such server or site.
        CloisterError: where a document is invalid, or cannot be kept as a service.
    """
    federation = load(root / ROSTER, Federation, name=ROSTER).value
    if name == federation.server.name:
        return server_service(federation, _texts(root, [root / ROSTER]), memory_gib)
    if federation.site(name) is None:
        known = ", ".join([federation.server.name, *(site.name for site in federation.sites)])
        raise UsageError(f"`{name}` is neither the server nor a site of the roster", hint=f"these are: {known}")
    site = load_site(root, name)
    policies = (site.policies.site, site.policies.baseline)
    files = [root / ROSTER, root / site.silo.source.file, *(root / each.source.file for each in policies)]
    files += [path for each in policies if (path := signature_file(root, each)).is_file()]
    files += sorted(path for path in (root / REVOKED).glob("*.json") if path.is_file())
    return site_service(federation, site.silo.value, _texts(root, files), memory_gib)


def _texts(root: Path, files: list[Path]) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): read_regular(path, _MAXIMUM_BYTES).decode() for path in files}
