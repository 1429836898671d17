# SPDX-License-Identifier: Apache-2.0
"""What a program inside tries, and fails, to do. Where it says something, the same program succeeds outside."""

from __future__ import annotations

import os
import platform
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import cloister
from cloister.sandbox import SandboxMode
from cloister.sandbox.confine import REFUSED_CALLS

from .conftest import Inside

pytestmark = pytest.mark.slow  # real processes, real keys or real files by the hundred

OUTSIDE = SandboxMode.UNSAFE_NONE

TRY = """
import os, sys
def tried(action):
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"
"""


class TestNetwork:
    def test_reaches_no_tcp_port_of_the_host(self, inside: Inside) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            code = f"{TRY}import socket\nprint(tried(lambda: socket.create_connection(('127.0.0.1', {port}), 2)))"
            assert inside(code) == "ConnectionRefusedError"
            assert inside(code, OUTSIDE) == "done"

    def test_sends_no_datagram_to_the_host(self, inside: Inside) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.settimeout(0.3)
            port = server.getsockname()[1]
            code = f"import socket\nsocket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))"
            inside(code)
            with pytest.raises(TimeoutError):
                server.recv(1)
            inside(code, OUTSIDE)
            assert server.recv(1) == b"x"

    def test_has_no_route(self, inside: Inside) -> None:
        code = f"{TRY}import socket, errno\ns = socket.socket(type=socket.SOCK_DGRAM)\n"
        code += "try: s.sendto(b'x', ('192.0.2.1', 53))\nexcept OSError as e: print(errno.errorcode[e.errno])"
        assert inside(code) == "ENETUNREACH"

    def test_resolves_no_name(self, inside: Inside) -> None:
        code = f"{TRY}import socket\nprint(tried(lambda: socket.getaddrinfo('example.org', 80)))"
        assert inside(code) == "gaierror"

    def test_reaches_no_abstract_socket_of_the_host(self, inside: Inside) -> None:
        name = f"cloister-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"\0{name}")
            server.listen()
            code = f"{TRY}import socket\nprint(tried(lambda: socket.socket(socket.AF_UNIX).connect('\\0{name}')))"
            assert inside(code) == "ConnectionRefusedError"
            assert inside(code, OUTSIDE) == "done"

    @pytest.mark.parametrize(("family", "word"), [(40, "AF_VSOCK"), (16, "AF_NETLINK"), (38, "AF_ALG"), (255, "none")])
    def test_opens_no_socket_that_a_network_namespace_would_not_hold(
        self, inside: Inside, family: int, word: str
    ) -> None:
        """A virtual machine's host, for one, is reached by `AF_VSOCK` from whatever namespace."""
        code = f"import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nfor family in ({family}, 1, 2, 10):\n"
        code += "    print(libc.socket(family, 1, 0) >= 0, end=' ')"
        assert inside(code) == "False True True True", word
        if word == "AF_NETLINK":
            assert inside(code.replace(", 1, 0)", ", 3, 0)").replace("1, 2, 10", "1,"), OUTSIDE) == "True True"


class TestFiles:
    def test_reads_view_and_base_model(self, inside: Inside) -> None:
        code = "import os\nprint(open('/view/train.parquet').read(), sorted(os.listdir('/base-model')))"
        assert inside(code) == "records ['config.json', 'model.safetensors']"

    def test_reads_nothing_of_the_views_manifest(self, inside: Inside) -> None:
        assert inside.enclosure.view is not None
        manifest = inside.enclosure.view / "manifest.json"
        manifest.write_text("counts")
        code = f"{TRY}print(tried(lambda: open(PATH).read()))"
        assert inside(code.replace("PATH", "'/view/manifest.json'")) == "PermissionError"
        assert inside(code.replace("PATH", repr(str(manifest))), OUTSIDE) == "done"

    def test_reads_no_key(self, inside: Inside) -> None:
        key = inside.enclosure.protected[0] / "client.key"
        code = f"{TRY}print(tried(lambda: open({str(key)!r})))"
        assert inside(code) == "FileNotFoundError"
        assert inside(code, OUTSIDE) == "done"

    def test_sees_nothing_of_the_state_around_the_view(self, inside: Inside) -> None:
        state = inside.enclosure.protected[0]
        code = f"{TRY}print(tried(lambda: os.listdir({str(state)!r})), tried(lambda: os.listdir('/view/../../')))"
        assert inside(code) == "FileNotFoundError done"
        assert "state" not in inside("import os\nprint(os.listdir('/view/..'))")

    def test_sees_only_the_listed_top_folders(self, inside: Inside) -> None:
        found = set(inside("import os\nprint(*os.listdir('/'))").split())
        runtime = {Path(path).parts[1] for path in (sys.prefix, sys.base_prefix, cloister.__file__)}
        system = {"usr", "lib", "lib32", "lib64", "bin", "sbin", "etc", "proc", "dev", "tmp", "view", "base-model"}
        assert found <= system | runtime
        assert set(inside("import os\nprint(*os.listdir('/etc'))").split()) <= {"alternatives", "ld.so.cache"}

    def test_sees_of_a_checkout_only_environment_and_package(self, inside: Inside) -> None:
        checkout = Path(sys.prefix).parent
        guarded = Inside(replace(inside.enclosure, protected=(*inside.enclosure.protected, checkout)))
        found = guarded(f"import os\nprint(*os.listdir({str(checkout)!r}))").split()
        assert set(found) <= {Path(sys.prefix).name, "src"}
        assert len(list(checkout.iterdir())) > len(found)

    def test_a_protected_folder_in_the_view_is_empty(self, inside: Inside) -> None:
        secret = inside.enclosure.view / "secret"
        secret.mkdir()
        (secret / "key").write_text("key")
        code = "import os\nprint(os.listdir('/view/secret'))"
        assert inside(code) == "['key']"
        guarded = Inside(replace(inside.enclosure, protected=(secret,)))
        assert guarded(code) == "[]"
        assert guarded(f"{TRY}print(tried(lambda: open('/view/secret/x', 'w')))") == "OSError"

    def test_a_protected_file_in_the_view_cannot_be_read(self, inside: Inside) -> None:
        secret = inside.enclosure.view / "key"
        secret.write_text("key")
        code = f"{TRY}print(tried(lambda: open('/view/key').read()))"
        assert inside(code) == "done"
        assert Inside(replace(inside.enclosure, protected=(secret,)))(code) == "PermissionError"

    def test_a_protected_folder_in_the_python_runtime_is_empty(self, inside: Inside) -> None:
        folder = next(path for path in (Path(sys.base_prefix) / "include", Path(sys.prefix) / "share") if path.is_dir())
        code = f"import os\nprint(len(os.listdir({str(folder)!r})))"
        assert int(inside(code)) > 0
        assert inside(code, OUTSIDE) != "0"
        assert Inside(replace(inside.enclosure, protected=(folder,)))(code) == "0"

    def test_makes_no_file_outside_tmp(self, inside: Inside) -> None:
        places = ["/", "/usr", "/view", "/base-model", "/dev", "/dev/shm", "/proc", "/etc"]
        places += [sys.prefix, str(Path(cloister.__file__).parent)]
        probe = f"{TRY}print(*(tried(lambda: open(place + '/made-inside', 'w')) for place in PLACES))"
        assert "done" not in inside(probe.replace("PLACES", repr(places)))
        assert inside(probe.replace("PLACES", "['/tmp']")) == "done"

    @pytest.mark.parametrize("name", ["/view/train.parquet", "/base-model/config.json"])
    def test_changes_no_record_and_no_weight(self, inside: Inside, name: str) -> None:
        assert inside(f"{TRY}print(tried(lambda: open({name!r}, 'a')), tried(lambda: os.remove({name!r})))") in (
            "OSError OSError"
        )

    def test_changes_no_setting_of_the_kernel(self, inside: Inside) -> None:
        # Under root these files belong to the user inside as well; core_pattern runs a program as root outside.
        code = (
            f"{TRY}print(*(tried(lambda: open('/proc/sys/kernel/' + n, 'r+')) for n in ('core_pattern', 'hostname')))"
        )
        assert "done" not in inside(code)

    def test_tmp_is_private_and_limited(self, inside: Inside, tmp_path: Path) -> None:
        code = """
import os
written = 0
try:
    for number in range(8):
        with open(f"/tmp/{number}", "wb", buffering=0) as stream:
            for _ in range(64):
                written += stream.write(bytes(2**20))
except OSError as error:
    print(error.errno, written)
"""
        errno, written = inside(code).split()
        assert int(errno) == 28  # ENOSPC
        assert int(written) <= 256 * 2**20
        assert inside(f"{TRY}print(tried(lambda: os.listdir({str(tmp_path)!r})))") == "FileNotFoundError"


class TestRights:
    def test_sees_no_process_of_the_host(self, inside: Inside) -> None:
        code = "import os\nprint(sum(name.isdigit() for name in os.listdir('/proc')))"
        assert int(inside(code)) <= 4
        assert int(inside(code, OUTSIDE)) > 4

    def test_sees_no_environment_of_the_host(self, inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CLOISTER_TEST_SECRET", "hunter2")
        code = """
import glob, os
said = repr(dict(os.environ))
for name in glob.glob("/proc/[0-9]*/environ"):
    try:
        said += open(name).read()
    except OSError:
        pass
print(said.replace(chr(0), " "))
"""
        said = inside(code)
        assert "HF_HUB_OFFLINE" in said
        assert "hunter2" not in said
        assert str(Path.home()) not in said

    def test_has_no_capability_and_gains_none(self, inside: Inside) -> None:
        status = dict(line.split(":\t", 1) for line in inside("print(open('/proc/self/status').read())").splitlines())
        assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
        assert status["NoNewPrivs"] == "1"

    @pytest.mark.parametrize("flags", [0x10000000, 0x10020000, 0x40000000])  # user; user and mount; network
    def test_makes_no_namespace(self, inside: Inside, flags: int) -> None:
        assert inside(f"import ctypes\nprint(ctypes.CDLL(None).unshare({flags}))") == "-1"

    @pytest.mark.parametrize("flags", [0x10000000, 0x40000000])  # user; network
    def test_starts_no_process_in_a_namespace_of_its_own(self, inside: Inside, flags: int) -> None:
        clone = {"x86_64": 56, "aarch64": 220}[platform.machine()]
        code = "import ctypes, os, signal\n"
        code += f"child = ctypes.CDLL(None).syscall({clone}, {flags} | signal.SIGCHLD, 0, 0, 0, 0)"
        assert inside(f"{code}\nif child == 0: os._exit(0)\nprint(child)") == "-1"

    def test_has_no_memory_outside_of_its_processes(self, inside: Inside) -> None:
        # Such memory would escape the watchdog, which adds up what processes have mapped.
        code = f"{TRY}import ctypes\nlibc = ctypes.CDLL(None)\nsegment = libc.shmget(0, 4096, 0o1600)\n"
        code += "libc.shmctl(segment, 0, 0)\nprint(tried(lambda: os.memfd_create('x')), segment >= 0)"
        assert inside(code) == "PermissionError False"
        assert inside(code, OUTSIDE) == "done True"

    def test_refuses_calls_that_training_does_not_need(self, inside: Inside) -> None:
        column = ["x86_64", "aarch64"].index(platform.machine())
        numbers = [pair[column] for pair in REFUSED_CALLS.values()]
        code = (
            "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nfound = set()\n"
            f"for number in {numbers}:\n    ctypes.set_errno(0); libc.syscall(number, -1, 0, 0, 0, 0)\n"
            "    found.add(ctypes.get_errno())\nprint(found)"
        )
        assert inside(code) == "{1}"  # EPERM
        assert inside(code, OUTSIDE) != "{1}"

    def test_refuses_the_other_numbering_of_system_calls(self, inside: Inside) -> None:
        code = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.syscall(0x40000000 + 39)\n"
        assert inside(code + "print(ctypes.get_errno())") == "1"

    def test_leaves_no_core_dump_and_no_large_file(self, inside: Inside) -> None:
        code = "import resource as r\nprint(r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_NOFILE))"
        assert inside(code) == "(0, 0) (256, 256)"

    def test_cannot_type_into_the_terminal(self, inside: Inside) -> None:
        assert inside(f"{TRY}print(tried(lambda: open('/dev/tty')))") != "done"
