# SPDX-License-Identifier: Apache-2.0
"""Whether a service does its work, told from real connections of this machine."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from cloister.flare.connected import is_connected, main


def test_a_server_that_listens_and_a_site_that_is_connected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert is_connected("server", port)
        assert not is_connected("site", port)
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            assert is_connected("site", port)
    assert not is_connected("server", port)


def test_a_connection_to_another_port_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as bound:
        port = server.getsockname()[1]
        bound.bind(("127.0.0.1", 0))
        other = bound.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            assert not is_connected("site", other)
            assert not is_connected("server", other)


def test_as_a_program_it_ends_with_a_status() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        command = [sys.executable, "-m", "cloister.flare.connected"]
        assert subprocess.run([*command, "server", port], check=False).returncode == 0
        assert subprocess.run([*command, "site", port], check=False).returncode == 1


@pytest.mark.parametrize("arguments", [[], ["server"], ["person", "1"], ["server", "x"], ["site", "1", "2"]])
def test_another_command_line_is_refused(arguments: list[str]) -> None:
    assert main(arguments) == 2


def test_it_takes_no_library_that_a_health_check_would_wait_for() -> None:
    code = "import sys, cloister.flare.connected; print(sorted({'nvflare', 'pydantic', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
