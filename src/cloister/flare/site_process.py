# SPDX-License-Identifier: Apache-2.0
"""A site's job process: NVFlare's, with the kit as it was written, taking messages only from whom a job needs them.

Usage: python -m cloister.flare.site_process -c SITE -m WORKSPACE …, with the arguments of NVFlare's own module
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from cloister.certificates.passphrase import keep_from_environment
from cloister.errors import CloisterError
from cloister.flare.audit_log import log_of_site
from cloister.flare.complaints import Complaints
from cloister.flare.grace import end_promptly, end_with
from cloister.flare.kit import check_kit_in_use
from cloister.flare.opened_key import open_key
from cloister.flare.running_trust import trust_as_site
from cloister.flare.state import SiteSettings
from cloister.flare.trust_watch import TrustWatch
from cloister.trust import trust_in_force

NVFLARE_MODULE = "nvflare.private.fed.app.client.worker_process"
_SITE_OPTION, _WORKSPACE_OPTION = "-c", "-m"


def main(arguments: list[str]) -> int:
    """See that the kit is whole, restrict what comes in, and become NVFlare's process."""
    try:
        site = arguments[arguments.index(_SITE_OPTION) + 1]
        workspace = Path(arguments[arguments.index(_WORKSPACE_OPTION) + 1])
    except (ValueError, IndexError):
        print("cloister: a job process was started without its site's name or workspace", file=sys.stderr)  # noqa: T201
        return 2
    try:
        keep_from_environment()
        settings = SiteSettings.read(workspace)
        check_kit_in_use(settings, trust_in_force(workspace).federation)
        open_key(workspace / "startup" / "client.key")
    except CloisterError as error:
        print(f"cloister: {error}", file=sys.stderr, flush=True)  # noqa: T201 - there is no console yet
        return int(error.exit_status)
    trust_as_site(TrustWatch(workspace), site, Complaints(log_of_site(settings)))
    end_promptly()
    sys.argv = [NVFLARE_MODULE, *arguments]
    runpy.run_module(NVFLARE_MODULE, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    end_with(main)
