# SPDX-License-Identifier: Apache-2.0
"""What a server's or a site's process is started with: its command line, its folder and all of its environment."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cloister.certificates import passphrase
from cloister.certificates.keys import read_public_key
from cloister.certificates.passphrase import Passphrase
from cloister.files import private_folder
from cloister.flare.launcher import MARKER

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")


@dataclass(frozen=True)
class Start:
    """How a process is started.

    Attributes:
        command: the program and its arguments.
        environment: all of its variables.
        folder: where it runs.
        passphrase: what opens its key, to be handed over on its standard input; None where it has none.
    """

    command: list[str]
    environment: dict[str, str]
    folder: Path
    passphrase: Passphrase | None = None


def start_of(kind: Literal["server", "site"], workspace: Path, root: Path, port: int, mark: str) -> Start:
    """How the process of ``workspace`` is started.

    Args:
        kind: what it is.
        workspace: its kit and NVFlare's workspace.
        root: the federation's folder.
        port: the server's TCP port.
        mark: by which the federation's processes are found again.

    Raises:
        ProvisioningError: where this process was given a passphrase, and it is not that of the key.
    """
    command = [sys.executable, "-m", "cloister.flare.start", kind, str(workspace), str(root), str(port)]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {
        MARKER: mark,
        "TMPDIR": str(private_folder(workspace / "tmp")),
        "PYTHONSAFEPATH": "1",  # the process runs in its workspace; nothing that lies there may be imported
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    secret = passphrase.own()
    if secret is not None:  # whoever gives one means the key to be encrypted
        read_public_key(workspace / "startup" / ("server.key" if kind == "server" else "client.key"), secret)
    return Start(command, environment, workspace, secret)
