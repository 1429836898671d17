# SPDX-License-Identifier: Apache-2.0
"""A site's job process: NVFlare's, taking messages only from whom a job needs them.

Usage: python -m cloister.flare.site_process -c SITE …, with the arguments of NVFlare's own module
"""

from __future__ import annotations

import runpy
import sys

from cloister.flare.traffic import restrict_traffic, rule_of_site

NVFLARE_MODULE = "nvflare.private.fed.app.client.worker_process"
_SITE_OPTION = "-c"


def main(arguments: list[str]) -> int:
    """Restrict what comes in, and become NVFlare's process."""
    try:
        site = arguments[arguments.index(_SITE_OPTION) + 1]
    except (ValueError, IndexError):
        print("cloister: a job process was started without its site's name", file=sys.stderr)  # noqa: T201
        return 2
    restrict_traffic(rule_of_site(site))
    sys.argv = [NVFLARE_MODULE, *arguments]
    runpy.run_module(NVFLARE_MODULE, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
