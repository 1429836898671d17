# SPDX-License-Identifier: Apache-2.0
"""A federation whose server can be dialled from elsewhere, and what is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloister.deploy.reading import read_service
from cloister.deploy.service import Service
from tests.federation_folder import make_federation

HOST, PORT = "coordinator.example", 8002
AT = "/srv/cloister"


def deployable(root: Path, **pieces: Any) -> Path:
    """`make_federation` with a fixed port and a name that is not this machine's."""
    server = {"host": HOST, "port": PORT} | pieces.pop("server", {})
    return make_federation(root, roster={"server": server} | pieces.pop("roster", {}), **pieces)


def services(root: Path) -> tuple[Service, Service]:
    """The server and the site `alpha` of a deployable federation."""
    deployable(root)
    return read_service(root, "coordinator"), read_service(root, "alpha")
