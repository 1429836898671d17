# SPDX-License-Identifier: Apache-2.0
"""A container as Docker would run a service of ours, made with the runtime alone: no engine, no image."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

RUNTIME = shutil.which("runc") or shutil.which("crun")

# What Docker masks and makes read-only where `systempaths` does not say otherwise (moby/oci/defaults.go).
MASKED = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_SHOWN = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc")


def seccomp_of(profile: str) -> dict[str, Any]:
    """A profile as Docker's engine hands it to the runtime."""
    tree = json.loads(profile)
    kept = ("names", "action", "args", "errnoRet")
    return {
        "defaultAction": tree["defaultAction"],
        "defaultErrnoRet": tree["defaultErrnoRet"],
        "architectures": [entry["architecture"] for entry in tree["archMap"]],
        "syscalls": [{key: entry[key] for key in kept if key in entry} for entry in tree["syscalls"]],
    }


def run(
    command: list[str],
    *,
    user: int,
    seccomp: dict[str, Any] | None,
    masked: bool,
    shown: tuple[Path, ...],
    mapped: bool = False,
) -> str:
    """What ``command`` says in a container without a capability, whose root is read-only.

    Args:
        command: the program and its arguments.
        user: who runs it.
        seccomp: filter of system calls.
        masked: whether /proc is as Docker leaves it where nothing else is said.
        shown: files of this machine that are visible, beside its programs and libraries.
        mapped: whether its users are nobody on this machine, as with Kubernetes' `hostUsers: false`.
    """
    assert RUNTIME is not None
    bind = {"type": "bind", "options": ["rbind", "ro", "nosuid"]}
    mounts: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]},
    ]
    folders = [Path(name) for name in _SHOWN if Path(name).is_dir() and not Path(name).is_symlink()]
    mounts += [{"destination": str(path), "source": str(path), **bind} for path in (*folders, *shown)]
    spec: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": user, "gid": user},
            "args": command,
            "env": ["PATH=/usr/bin:/bin", "HOME=/tmp"],
            "cwd": "/",
            "noNewPrivileges": True,
            "capabilities": {},
        },
        "root": {"path": "root", "readonly": True},
        "hostname": "container",
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
            "maskedPaths": list(MASKED) if masked else [],
            "readonlyPaths": list(READ_ONLY) if masked else [],
        }
        | ({"seccomp": seccomp} if seccomp else {}),
    }
    if mapped:
        ids = [{"containerID": 0, "hostID": 1_000_000, "size": 65_536}]
        spec["linux"]["namespaces"].append({"type": "user"})
        spec["linux"] |= {"uidMappings": ids, "gidMappings": ids}
    with tempfile.TemporaryDirectory(prefix="cloister-container-", dir="/var/lib") as name:
        folder = Path(name)
        folder.chmod(0o755)  # a container's root is not always this machine's
        root = folder / "root"
        root.mkdir()
        for each in _SHOWN:
            if Path(each).is_symlink():
                (root / each[1:]).symlink_to(Path(each).readlink())
        for mount in mounts:  # a container's root may not make them where it is nobody here
            place = root / mount["destination"][1:]
            if Path(mount["source"]).is_file():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
            else:
                place.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(spec))
        manager = ["--cgroup-manager=disabled"] if RUNTIME.endswith("crun") else []
        argv = [RUNTIME, *manager, "run", "--bundle", name, folder.name]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@functools.cache
def cannot_run() -> str:
    """Why no container can be run here; empty where one can."""
    if RUNTIME is None:
        return "neither crun nor runc is installed, which run containers"
    said = run(["/usr/bin/echo", "runs"], user=10001, seccomp=None, masked=True, shown=())
    return "" if said == "runs\n" else f"no container can be run here: {said[:300]}"
