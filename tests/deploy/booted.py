# SPDX-License-Identifier: Apache-2.0
"""A real systemd in namespaces of its own, with nothing in it but the units of a test."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")

# The machine's own /proc goes first: a second one beneath would let bubblewrap mount what it otherwise might not.
_BOOT = """
set -e
mount --make-rprivate /
umount -l /proc
mount -t proc proc /proc
umount -R -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
cp -r "$1" /dev/shm/units-of-a-test
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/systemd/system
cp /dev/shm/units-of-a-test/* /run/systemd/system/
rm -r /dev/shm/units-of-a-test
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs tmpfs /etc/systemd/system
# As it is on a machine: units get their credentials by a mount that is made elsewhere.
mount --make-rshared /
export container=test
exec /lib/systemd/systemd --system --unit=test.target --log-target=console --show-status=0 \\
  systemd.unified_cgroup_hierarchy=1
"""

_NAMESPACES = ["--fork", "--pid", "--mount", "--cgroup", "--uts", "--ipc", "--net", "--kill-child=KILL"]


def boot(units: Mapping[str, str], script: str, seconds: float) -> str:
    """What ``script`` printed, run by bash inside a freshly booted systemd that knows ``units``; it starts none.

    Args:
        units: text by file name.
        script: may call systemctl.
        seconds: after so long everything inside is killed.
    """
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        said = Path(tempfile.mkdtemp(prefix="cloister-boot-", dir="/var/lib")) / "said"
        try:
            (said.parent / "script.sh").write_text(script)
            written = dict(units)
            written["test.target"] = "[Unit]\nDescription=test\nWants=driver.service\n"
            written["driver.service"] = (
                f"[Service]\nType=oneshot\nEnvironment=HOME=/root\nExecStart=/bin/bash {said.parent}/script.sh\n"
                f"ExecStopPost=/bin/systemctl exit\nStandardOutput=file:{said}\nStandardError=file:{said}\n"
            )
            units_folder = folder / "units"
            units_folder.mkdir()
            for file, text in written.items():
                (units_folder / file).write_text(text)
            command = ["unshare", *_NAMESPACES, "bash", "-c", _BOOT, "boot", str(units_folder)]
            done = subprocess.run(
                ["timeout", "-s", "KILL", str(seconds), *command], capture_output=True, text=True, check=False
            )
            printed = said.read_text(errors="replace") if said.exists() else ""
            return printed or f"not booted: {done.stdout}{done.stderr}"
        finally:
            shutil.rmtree(said.parent)


@functools.cache
def cannot_boot() -> str:
    """Why no systemd can be booted here; empty where one can."""
    if not SYSTEMD.exists() or shutil.which("unshare") is None:
        return "systemd or unshare is not installed"
    said = boot({}, "echo booted", 30)
    return "" if said == "booted\n" else f"no systemd can be booted here: {said[-300:]}"
