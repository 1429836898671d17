# SPDX-License-Identifier: Apache-2.0
"""Starts NVFlare's server or site process, if the kit is exactly what Cloister wrote.

NVFlare allows everything to everybody when `authorization.json` is missing, and filters nothing when `privacy.json` is.
So a process of ours starts from here: it works out again what its kit must hold, compares, and stops where they differ.

Usage: python -m cloister.flare.start server|site WORKSPACE ROOT PORT
"""

from __future__ import annotations

import os
import queue
import runpy
import signal
import sys
import threading
from pathlib import Path

from cloister.audit import Log
from cloister.certificates.passphrase import keep_from_environment
from cloister.errors import CloisterError, ProvisioningError, UsageError
from cloister.flare.audit_log import log_of_server, log_of_site, record_end, record_start
from cloister.flare.commands import restrict_commands
from cloister.flare.complaints import Complaints
from cloister.flare.kit import check_kit_files, server_files, site_files
from cloister.flare.leftovers import remove_leftovers
from cloister.flare.opened_key import open_key
from cloister.flare.person_commands import restrict_person_commands
from cloister.flare.personal_layers import trim_personal
from cloister.flare.running_trust import trust_as_server, trust_as_site
from cloister.flare.state import SiteSettings
from cloister.flare.submission import limit_submissions, read_json_only
from cloister.flare.trust_watch import TrustWatch
from cloister.governance.replay import ReplayCache
from cloister.trust import trust_in_force

_SERVER = "nvflare.private.fed.app.server.server_train"
_SITE = "nvflare.private.fed.app.client.client_train"


def main(arguments: list[str]) -> int:
    """Check the kit and become the NVFlare process."""
    try:
        keep_from_environment()
        module, argv = prepare(arguments)
        open_key(Path(arguments[1]) / "startup" / ("server.key" if module == _SERVER else "client.key"))
        ReplayCache(Path(arguments[1])).check()  # whole, and here alone: it takes longer with every job
        log = _begin_log(arguments)
        _trust(arguments, log)
    except CloisterError as error:
        print(f"cloister: {error}", file=sys.stderr, flush=True)  # noqa: T201 - there is no console yet
        return int(error.exit_status)
    read_json_only()
    if module == _SITE:
        restrict_commands()
        remove_leftovers(Path(arguments[1]))
        trim_personal(Path(arguments[1]))
    else:
        limit_submissions(Path(arguments[1]))
        restrict_person_commands()
    os.umask(0o077)  # what NVFlare writes from here on is the owner's alone
    sys.argv = [module, *argv]
    _record_signals(log)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except BaseException as error:
        record_end(log, f"NVFlare's process ended with {type(error).__name__}")
        raise
    record_end(log, "NVFlare's process came to its end")
    return 0


def _begin_log(arguments: list[str]) -> Log:
    """The participant's audit log, with the start in it; a process whose log cannot be written does not start."""
    kind, workspace = arguments[0], Path(arguments[1])
    log = log_of_server(workspace) if kind == "server" else log_of_site(SiteSettings.read(workspace))
    record_start(log, workspace / "startup" / ("server.crt" if kind == "server" else "client.crt"))
    return log


def _record_signals(log: Log) -> None:
    """Record why the process is being ended, where it is asked to and not killed.

    A handler interrupts whatever the main thread does, which may be writing into the log and hold its lock. So the
    handler only hands the signal on to a thread that was started for it, and ends the process once that has written.
    """
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()  # its `put` may be interrupted by itself
    recorded = threading.Event()

    def record() -> None:
        number = asked.get()
        record_end(log, f"the process was asked to end ({signal.Signals(number).name})")
        recorded.set()
        os.kill(os.getpid(), number)

    def end(number: int, _frame: object) -> None:
        if recorded.is_set():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        else:
            asked.put(number)

    threading.Thread(target=record, daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)


def _trust(arguments: list[str], log: Log) -> None:
    """Have the process go by the roster in force for as long as it runs."""
    kind, workspace = arguments[0], Path(arguments[1])
    if kind == "server":
        trust_as_server(TrustWatch(workspace), Complaints(log))
    else:
        trust_as_site(TrustWatch(workspace), SiteSettings.read(workspace).site, Complaints(log))


def prepare(arguments: list[str]) -> tuple[str, list[str]]:
    """Check the kit; returns the NVFlare module to run and its arguments.

    Raises:
        CloisterError: where the kit is not what Cloister wrote.
    """
    if len(arguments) != 4 or arguments[0] not in ("server", "site"):
        raise UsageError("usage: python -m cloister.flare.start server|site WORKSPACE ROOT PORT")
    if not arguments[3].isdecimal():
        raise UsageError("the port is not a number")
    kind, workspace, root, port = arguments[0], Path(arguments[1]), Path(arguments[2]), int(arguments[3])
    federation = trust_in_force(workspace).federation
    if kind == "server":
        check_kit_files(workspace, server_files(federation, workspace, port))
        organisation = f"org={federation.server.organisation}"
        return _SERVER, [
            "-m",
            str(workspace),
            "-s",
            "fed_server.json",
            "--set",
            "secure_train=true",
            organisation,
            "config_folder=config",
        ]
    settings = SiteSettings.read(workspace)
    site = settings.site
    if settings.root != root:
        hint = "run `cloister up` again"
        raise ProvisioningError("the site's settings name another folder than it was started for", hint=hint)
    entry = federation.site(site)
    if entry is None:
        raise ProvisioningError(f"site `{site}` is not in the roster")
    check_kit_files(workspace, site_files(federation, site, port, workspace), settings)
    return _SITE, [
        "-m",
        str(workspace),
        "-s",
        "fed_client.json",
        "--set",
        "secure_train=true",
        f"uid={site}",
        f"org={entry.organisation}",
        "config_folder=config",
        "heart_beat_interval=2",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
