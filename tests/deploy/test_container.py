# SPDX-License-Identifier: Apache-2.0
"""A site's sandbox in a container, with what `compose.yaml` asks for and without each part of it."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.deploy.image import UID, seccomp_profile
from cloister.sandbox import confine
from cloister.sandbox.bubblewrap import _ISOLATION
from cloister.sandbox.confine import Confinement
from tests.deploy.container import cannot_run, run, seccomp_of

WORKS = "the sandbox works\n"


@pytest.fixture
def sandbox() -> Iterator[tuple[list[str], Path]]:
    """The trainer's sandbox with a trivial program in it, and the one file of ours that it needs."""
    if reason := cannot_run():
        pytest.skip(reason)
    if not all(Path(program).exists() for program in ("/usr/bin/bwrap", "/usr/bin/python3")):
        pytest.skip("bubblewrap, or a Python that every user may run, is not installed")
    folder = Path(tempfile.mkdtemp(prefix="cloister-confine-", dir="/var/lib"))
    folder.chmod(0o755)
    script = Path(shutil.copy(confine.__file__, folder / "confine.py"))
    script.chmod(0o644)
    confinement = Confinement(python="/usr/bin/python3", address_space=2**34, processes=64, filtered=True)
    inside = [str(script) if word.endswith("confine.py") else word for word in confinement.argv()]
    shown = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--remount-ro", "/proc"]
    yield ["/usr/bin/bwrap", *_ISOLATION, *shown, "--", *inside, "/usr/bin/echo", "the sandbox works"], script
    shutil.rmtree(folder)


@pytest.mark.parametrize("mapped", [False, True], ids=["as Compose does", "as Kubernetes does"])
def test_it_works_with_what_is_asked_for(sandbox: tuple[list[str], Path], mapped: bool) -> None:
    command, script = sandbox
    filters = seccomp_of(seccomp_profile())
    assert run(command, user=UID, seccomp=filters, masked=False, shown=(script,), mapped=mapped) == WORKS


def test_it_does_not_work_where_proc_is_masked(sandbox: tuple[list[str], Path]) -> None:
    command, script = sandbox
    filters = seccomp_of(seccomp_profile())
    said = run(command, user=UID, seccomp=filters, masked=True, shown=(script,))
    assert said != WORKS
    assert "/proc" in said


@pytest.mark.parametrize("call", ["clone", "mount", "pivot_root", "sethostname", "umount2", "unshare"])
def test_every_system_call_that_is_allowed_for_it_is_needed(sandbox: tuple[list[str], Path], call: str) -> None:
    command, script = sandbox
    filters = seccomp_of(seccomp_profile())
    for entry in filters["syscalls"]:
        entry["names"] = [name for name in entry["names"] if name not in (call, "clone3")]
    assert run(command, user=UID, seccomp=filters, masked=False, shown=(script,)) != WORKS


def test_netlink_is_needed_and_sockets_to_the_machine_outside_are_not(sandbox: tuple[list[str], Path]) -> None:
    command, script = sandbox
    filters = seccomp_of(seccomp_profile())
    families = [entry["args"][0]["value"] for entry in filters["syscalls"] if entry["names"] == ["socket"]]
    assert families == [1, 2, 10, 16]
    without = [entry for entry in filters["syscalls"] if entry.get("args", [{}])[0].get("value") != 16]
    assert run(command, user=UID, seccomp=filters | {"syscalls": without}, masked=False, shown=(script,)) != WORKS
    probe = "import socket; socket.socket(socket.AF_VSOCK)"
    said = run(["/usr/bin/python3", "-c", probe], user=UID, seccomp=filters, masked=False, shown=())
    assert "PermissionError" in said


def test_the_filter_leaves_an_administrators_calls_out(sandbox: tuple[list[str], Path]) -> None:
    del sandbox
    filters = seccomp_of(seccomp_profile())
    probe = """
import ctypes, errno, json
calls = {"keyctl": 250, "bpf": 321, "ptrace": 101, "setns": 308, "io_uring_setup": 425, "perf_event_open": 298}
libc = ctypes.CDLL(None, use_errno=True)
print(json.dumps({name: (libc.syscall(number, 0, 0, 0, 0, 0), errno.errorcode[ctypes.get_errno()])
                  for name, number in calls.items()}))
"""
    if platform.machine() != "x86_64":
        pytest.skip("the numbers of system calls above are those of x86-64")
    said = run(["/usr/bin/python3", "-c", probe], user=UID, seccomp=filters, masked=False, shown=())
    assert set(map(tuple, json.loads(said).values())) == {(-1, "EPERM")}
