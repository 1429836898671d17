# SPDX-License-Identifier: Apache-2.0
"""What the environment's proxy does, as grpcio was seen to do it; the last test asks grpcio itself."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest

from cloister.doctor.proxy import Proxy, judge_environment, named, proxy_for
from tests.doctor import listeners

HOST = "fl.research.example"
PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({}, ""),
        ({"grpc_proxy": PROXY, "https_proxy": "http://b:1", "http_proxy": "http://c:1"}, "grpc_proxy"),
        ({"https_proxy": PROXY, "http_proxy": "http://c:1"}, "https_proxy"),
        ({"http_proxy": PROXY}, "http_proxy"),
        ({"grpc_proxy": "", "http_proxy": PROXY}, "http_proxy"),
        ({"HTTPS_PROXY": PROXY}, ""),
        ({"all_proxy": PROXY}, ""),
    ],
)
def test_which_variable_counts(environment: dict[str, str], variable: str) -> None:
    assert named(environment)[0] == variable
    found = proxy_for(HOST, environment)
    assert (found is not None and found.variable) == (variable or False)


@pytest.mark.parametrize(
    ("exempting", "host", "through"),
    [
        ("", HOST, True),
        ("research.example", HOST, False),
        (".example", HOST, False),
        ("FL.Research.Example", HOST, False),
        (" a.b , research.example", HOST, False),
        ("earch.example", HOST, True),
        ("*", HOST, True),
        ("*.example", HOST, True),
        (f"{HOST}:8002", HOST, True),
        ("10.0.0.0/8", "10.1.2.3", False),
        ("10.0.0.0/8", "11.1.2.3", True),
        ("10.1.2.3", "10.1.2.3", False),
        ("10.0.0.0/8", HOST, True),
        ("", "localhost", True),
        ("localhost", "localhost", False),
    ],
)
def test_what_no_proxy_leaves_out(exempting: str, host: str, through: bool) -> None:
    assert (proxy_for(host, {"https_proxy": PROXY, "no_proxy": exempting}) is not None) is through


def test_grpc_s_own_no_proxy_comes_first() -> None:
    environment = {"https_proxy": PROXY, "no_proxy": HOST, "no_grpc_proxy": "elsewhere"}
    assert proxy_for(HOST, environment) is not None


@pytest.mark.parametrize(
    ("environment", "code", "words"),
    [
        ({}, "D0400", "the environment names no proxy"),
        ({"HTTPS_PROXY": PROXY}, "D0401", "HTTPS_PROXY names a proxy, and is not looked at"),
        ({"all_proxy": PROXY}, "D0401", "all_proxy names a proxy, and is not looked at"),
        ({"https_proxy": "proxy.example:3128"}, "D0401", "without `http://`"),
        ({"https_proxy": "https://proxy.example"}, "D0401", "without `http://`"),
        ({"https_proxy": PROXY, "no_proxy": "example"}, "D0400", f"leaves `{HOST}` out"),
        ({"https_proxy": PROXY}, "D0404", "through the proxy `proxy.example:3128` (https_proxy)"),
    ],
)
def test_what_is_said_of_the_environment(environment: dict[str, str], code: str, words: str) -> None:
    found = judge_environment(HOST, environment)
    assert (found.code, words in found.message) == (code, True)


def test_a_proxy_s_password_is_shown_nowhere() -> None:
    found = proxy_for(HOST, {"https_proxy": "http://user:p%40ss@proxy.example"})
    assert found == Proxy("https_proxy", "proxy.example", 80, "dXNlcjpwQHNz")
    assert "dXNl" not in repr(found) + str(found)


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
def test_grpc_still_does_as_it_was_seen_to(variable: str) -> None:
    seen: list[bytes] = []
    program = (
        f"import grpc; channel = grpc.secure_channel('{HOST}:8002', grpc.ssl_channel_credentials())\n"
        "try: grpc.channel_ready_future(channel).result(timeout=2)\nexcept grpc.FutureTimeoutError: pass\n"
    )
    with listeners.listening(listeners.proxy(b"403 No", 0, seen)) as port:
        environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
        environment[variable] = f"http://127.0.0.1:{port}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run([sys.executable, "-c", program], env=environment, timeout=30, check=True)
        by_us = proxy_for(HOST, {variable: environment[variable]})
    assert bool(seen) == (by_us is not None)
    assert all(each.startswith(f"CONNECT {HOST}:8002 HTTP/1.1".encode()) for each in seen)
