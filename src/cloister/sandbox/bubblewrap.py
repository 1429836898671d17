# SPDX-License-Identifier: Apache-2.0
"""The command line of bubblewrap (https://github.com/containers/bubblewrap), and whether it works on this machine.

Inside there is a fresh network namespace without a route, no other process, no capability and no way to make a
further user namespace, in which the kernel would offer more of itself to attack. ``/tmp`` alone can be written.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path

from cloister.errors import SandboxError
from cloister.sandbox.confine import Confinement
from cloister.sandbox.enclosure import Enclosure, Limits, SandboxMode
from cloister.sandbox.mounts import Kind, mounts

_TMP_BYTES = 256 * 2**20
_NOBODY = "65534"
_TRIAL_SECONDS = 10
_TRIAL_LIMITS = Limits(memory_bytes=2**30, processes=64, threads=1)

_ISOLATION = [
    "--unshare-all",
    "--unshare-user",
    "--disable-userns",
    "--die-with-parent",
    "--new-session",
    "--cap-drop",
    "ALL",
    "--uid",
    _NOBODY,
    "--gid",
    _NOBODY,
    "--hostname",
    "trainer",
]


def command(enclosure: Enclosure, mode: SandboxMode, argv: list[str]) -> list[str]:
    """What to run so that ``argv`` runs in ``enclosure``.

    Raises:
        SandboxError: where what must be hidden cannot be hidden, or a job's own code would run unhidden.
    """
    if mode is SandboxMode.UNSAFE_NONE and enclosure.code is not None:
        raise SandboxError("training code of a job's own runs in a sandbox only, and there is none")
    confined = [*_confinement(enclosure.limits, mode).argv(), *argv]
    if mode is SandboxMode.UNSAFE_NONE:
        return confined
    shown = mounts(enclosure)
    read_only = [mount.place for mount in shown if mount.kind is Kind.COVER_FOLDER]
    arguments = [*_ISOLATION, "--clearenv"]
    for name, value in environment(enclosure.limits).items():
        arguments += ["--setenv", name, value]
    arguments += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", str(_TMP_BYTES), "--tmpfs", "/tmp"]  # noqa: S108
    for mount in shown:
        arguments += mount.arguments()
    # Under root, bubblewrap leaves /proc/sys writable to the trainer: it maps to the host's root, who owns those files.
    for place in (*read_only, Path("/dev"), Path("/proc"), Path("/")):
        arguments += ["--remount-ro", str(place)]
    return [_program(), *arguments, "--chdir", "/tmp", "--", *confined]  # noqa: S108


def environment(limits: Limits) -> dict[str, str]:
    """All environment variables that a trainer gets."""
    threads = str(limits.threads)
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",  # noqa: S108
        "USER": "trainer",
        "LOGNAME": "trainer",
        "LANG": "C.UTF-8",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@functools.cache
def missing() -> str | None:
    """None where bubblewrap works here, otherwise one sentence with the remedy. Tried once per process."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (install the system package `bubblewrap`, 0.8 or newer)"
    root = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--remount-ro", "/proc"]
    program = [*_confinement(_TRIAL_LIMITS, SandboxMode.BUBBLEWRAP).argv(), "/usr/bin/true"]
    trial = [_program(), *_ISOLATION, *root, "--", *program]
    try:
        done = subprocess.run(trial, capture_output=True, timeout=_TRIAL_SECONDS, env={}, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return f"bubblewrap cannot be run: {error}"
    if done.returncode == 0:
        return None
    said = " ".join(done.stderr.decode(errors="replace").split())[:300]
    return f"bubblewrap does not work here: {said} ({_remedy(said)})"


def _remedy(said: str) -> str:
    if "nknown option" in said:
        return "install bubblewrap 0.8 or newer"
    if _sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor forbids user namespaces, as on Ubuntu 24.04: add an AppArmor profile for /usr/bin/bwrap with "
            "`userns,`, or set the sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if _sysctl("kernel/unprivileged_userns_clone") == "0":
        return "set the sysctl kernel.unprivileged_userns_clone=1"
    if _sysctl("user/max_user_namespaces") == "0":
        return "set the sysctl user.max_user_namespaces to 1000 or more"
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return "this is a container: run it with a seccomp profile that allows user namespaces and an unmasked /proc"
    return "allow user namespaces on this machine"


def _sysctl(name: str) -> str:
    try:
        return (Path("/proc/sys") / name).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _program() -> str:
    return shutil.which("bwrap") or "bwrap"


def _confinement(limits: Limits, mode: SandboxMode) -> Confinement:
    # Beside the watchdog, which names the reason, these bound what can be done between two of its looks. Outside a
    # user namespace the kernel counts all of the user's processes together, so there no such limit is set.
    inside = mode is SandboxMode.BUBBLEWRAP
    return Confinement(
        python=sys.executable,
        address_space=4 * limits.memory_bytes + 16 * 2**30,
        processes=2 * limits.processes if inside else 0,
        filtered=inside,
    )
