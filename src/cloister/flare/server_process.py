# SPDX-License-Identifier: Apache-2.0
"""The server's job process: NVFlare's, if the server's kit is still what Cloister wrote.

Usage: python -m cloister.flare.server_process -m WORKSPACE --port PORT …, with the arguments of NVFlare's own module
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from cloister.certificates.passphrase import keep_from_environment
from cloister.errors import CloisterError
from cloister.flare.frames import join_frames
from cloister.flare.grace import end_promptly, end_with, end_without_pytorch
from cloister.flare.kit import check_kit_files, server_files
from cloister.flare.opened_key import open_key
from cloister.trust import trust_in_force

NVFLARE_MODULE = "nvflare.private.fed.app.server.runner_process"
_WORKSPACE_OPTION, _PORT_OPTION = "-m", "--port"


def main(arguments: list[str]) -> int:
    """See that the kit is whole, and become NVFlare's process."""
    try:
        workspace = Path(arguments[arguments.index(_WORKSPACE_OPTION) + 1])
        port = int(arguments[arguments.index(_PORT_OPTION) + 1])
    except (ValueError, IndexError):
        print("cloister: a job process was started without its workspace or port", file=sys.stderr)  # noqa: T201
        return 2
    try:
        keep_from_environment()
        federation = trust_in_force(workspace).federation
        check_kit_files(workspace, server_files(federation, workspace, port))
        open_key(workspace / "startup" / "server.key")
    except CloisterError as error:
        print(f"cloister: {error}", file=sys.stderr, flush=True)  # noqa: T201 - there is no console yet
        return int(error.exit_status)
    join_frames()
    end_promptly()
    end_without_pytorch()
    sys.argv = [NVFLARE_MODULE, *arguments]
    runpy.run_module(NVFLARE_MODULE, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    end_with(main)
