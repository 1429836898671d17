# SPDX-License-Identifier: Apache-2.0
"""Machines that are Linux namespaces of this one: with names, addresses, processes and files of their own.

A machine is a namespace each for network, mounts, processes and host name, kept by one process; when that ends,
whatever runs there ends as well. It sees its own home and a folder that all share, and of the other machines nothing.
Machines are connected by a switch in a namespace of its own, so that this machine's own network is left as it is.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

RATE = "50mbit"
DELAY_MS = 20
_TOOLS = ("ip", "tc", "ss", "unshare", "nsenter", "mount", "bwrap")
_HOLD = "cat"  # ends when its input does, which this process holds open


class CannotError(Exception):
    """Why there can be no such machines here."""


def check_possible() -> None:
    """See that this process may make namespaces and connect them.

    Raises:
        CannotError: with the reason.
    """
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        raise CannotError(f"`{missing[0]}` is not installed")
    limit = f"tc qdisc add dev lo root tbf rate {RATE} burst 64kb latency 400ms"
    trial = f"test -w /dev/net/tun && {limit} && mount -t tmpfs tmpfs /mnt"
    command = ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--mount-proc", "sh", "-c", trial]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotError(f"this user may not make network namespaces: {done.stderr.strip()[-200:]}")


@dataclass(frozen=True)
class Said:
    """What a block of commands printed, and for how long it ran, in seconds."""

    text: str
    seconds: float


class Namespace:
    """Namespaces that live as long as one process does."""

    def __init__(self) -> None:
        command = ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
        self._holder = subprocess.Popen([*command, _HOLD], stdin=subprocess.PIPE)
        self.pid = self._first_inside()

    def _first_inside(self) -> int:
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        for _ in range(200):
            found = children.read_text().split()
            if found and Path(f"/proc/{found[0]}/comm").read_text().strip() == _HOLD:
                return int(found[0])
            time.sleep(0.02)
        raise CannotError("a namespace was not made in time")

    def enter(self, *command: str) -> list[str]:
        """``command`` as it is run inside."""
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", "--pid", "--uts", *command]

    def run(self, script: str) -> str:
        """Run a shell script inside, and return what it printed."""
        done = subprocess.run(self.enter("sh", "-ec", script), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def close(self) -> None:
        """End everything inside."""
        self._holder.kill()
        self._holder.wait()


class Machine:
    """One machine, with a shell that stays open.

    Args:
        name: its host name.
        address: its IPv4 address.
        home: the folder that is its home.
        hidden: a folder that it cannot see.
        shared: the folder that all machines share, as `/mnt/transfer`.
        hosts: addresses by the names that it knows.
        path: where programs are looked for.
    """

    HOME = Path("/mnt/home")
    TRANSFER = Path("/mnt/transfer")

    def __init__(
        self, name: str, address: str, home: Path, hidden: Path, shared: Path, hosts: Mapping[str, str], path: str
    ) -> None:
        self.name, self.address, self.home = name, address, home
        home.mkdir(parents=True)
        own_hosts = home.parent / f"{name}.hosts"
        own_hosts.write_text("".join(f"{at} {known}\n" for known, at in {"localhost": "127.0.0.1", **hosts}.items()))
        self.space = Namespace()
        q = shlex.quote
        self.space.run(
            f"""
            mount --make-rprivate /
            hostname {q(name)}
            mount --bind {q(str(own_hosts))} /etc/hosts
            mount -t tmpfs tmpfs /mnt
            mkdir {self.HOME} {self.TRANSFER}
            mount --bind {q(str(home))} {self.HOME}
            mount --bind {q(str(shared))} {self.TRANSFER}
            mount -t tmpfs tmpfs {q(str(hidden))}
            ip link set lo up
            """
        )
        environment = {"HOME": str(self.HOME), "PATH": path, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
        self._shell = subprocess.Popen(
            self.space.enter("bash", "--norc", "--noprofile"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
        )
        self._scripts = 0

    def run(self, script: str, answer: Callable[[str], str], limit: float = 600.0) -> Said:
        """Run ``script`` in the open shell, as if it were typed there; what it asks for is answered.

        Args:
            script: the block, as it stands on the page.
            answer: what somebody says on the telephone, by whom is asked for.
            limit: seconds until the shell is ended.
        """
        began = time.monotonic()
        self._scripts += 1
        path = self.home / f".block-{self._scripts}.sh"
        path.write_text(f"set -e\n{script}", encoding="utf-8")
        end = f"--- end of block {self._scripts} ---"
        # One line, because what a block reads it reads from what is typed next.
        self._write(f"source {self.HOME / path.name}; printf '%s\\n' '{end}'\n")
        watch = threading.Timer(limit, self._shell.kill)
        watch.start()
        try:
            text = self._read_to(end, answer)
        finally:
            watch.cancel()
            path.unlink()
        return Said(text, time.monotonic() - began)

    def _write(self, text: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(text.encode())
        self._shell.stdin.flush()

    def _read_to(self, end: str, answer: Callable[[str], str]) -> str:
        assert self._shell.stdout is not None
        text = ""
        while not text.endswith(f"{end}\n"):
            piece = os.read(self._shell.stdout.fileno(), 65536)
            text += piece.decode(errors="replace")
            assert piece, f"a command at {self.name} failed, or took too long:\n{text[-6000:]}"
            if asked := re.search(r"What (.+) reads: $", text):
                self._write(answer(asked[1]) + "\n")
                text += "\n"
        return text.removesuffix(f"{end}\n")

    def listens(self) -> set[str]:
        """Where programs take connections, as `address:port`, apart from those that only this machine can reach."""
        found = {line.split()[3] for line in self.space.run("ss -Hltn").splitlines()}
        return {place for place in found if not place.startswith(("127.", "[::1]"))}

    def peers(self) -> set[str]:
        """With whom connections are open, as `address:port`, apart from those that stay on this machine."""
        found = {line.split()[3] for line in self.space.run("ss -Htn state established").splitlines()}
        plain = {place.replace("[::ffff:", "").replace("]", "") for place in found}
        return {place for place in plain if not place.startswith("127.")}

    def close(self) -> None:
        """Switch it off."""
        self.space.close()
        self._shell.kill()
        self._shell.communicate()


class Network:
    """A switch, and machines that are plugged into it: every frame is on its way for half of `DELAY_MS`.

    Args:
        machines: up to nine, which are connected from now on.
    """

    def __init__(self, machines: Iterable[Machine]) -> None:
        self.space = Namespace()
        lines = {f"line{number}": machine for number, machine in enumerate(machines)}
        command = [sys.executable, str(Path(__file__).with_name("delaying_switch.py")), str(DELAY_MS / 2), *lines]
        self._switch = subprocess.Popen(
            ["nsenter", "--target", str(self.space.pid), "--net", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._switch.stdout is not None
        assert self._switch.stdout.readline() == b"ready\n"
        for line, machine in lines.items():
            move = ["ip", "link", "set", line, "netns", str(machine.space.pid)]
            subprocess.run(["nsenter", "--target", str(self.space.pid), "--net", *move], check=True)
            machine.space.run(
                f"ip addr add {machine.address}/24 dev {line}; ip link set {line} up;"
                f"tc qdisc add dev {line} root tbf rate {RATE} burst 64kb latency 400ms"
            )

    def close(self) -> None:
        """Take it down."""
        self.space.close()
        self._switch.kill()
        self._switch.communicate()
