# SPDX-License-Identifier: Apache-2.0
"""What the environment's proxy does to connections, by gRPC's rules as they were seen to be with grpcio 1.85.

1. Of `grpc_proxy`, `https_proxy` and `http_proxy`, in lower case, the first with a value counts, and `http://` only.
2. `no_grpc_proxy`, or else `no_proxy`, lists names with everything below them, and networks (CIDR). `*` means nothing,
   and neither `localhost` nor 127.0.0.1 is left out by itself.
3. Commands of people dial from their own process, so they go through the proxy. Server and sites are started by
   `cloister up` without these variables, and dial directly.
"""

from __future__ import annotations

import base64
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order

_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXEMPTING = ("no_grpc_proxy", "no_proxy")
_ANSWER_BYTES = 4096
_OUT = "so that it is dialled directly, put `{host}` into no_proxy; else ask whoever runs the proxy to allow CONNECT"


@dataclass(frozen=True)
class Proxy:
    """A proxy that connections to the server go through.

    Attributes:
        variable: the environment variable that names it.
        host: its host.
        port: its port.
        credentials: for it, in base64 (RFC 7617); empty where it asks for none.
    """

    variable: str
    host: str
    port: int
    credentials: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Tunnel:
    """What a proxy answered to CONNECT (RFC 9110, 9.3.6).

    Attributes:
        status: the number; 0 where it answered with something else, or not at all.
        said: why it could not be asked; empty where it answered.
    """

    status: int
    said: str = ""


def named(environment: Mapping[str, str]) -> tuple[str, str]:
    """The variable that names a proxy and its value, by rule 1; both empty where none does."""
    return next(((name, value) for name in _VARIABLES if (value := environment.get(name, ""))), ("", ""))


def proxy_for(host: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy through which a person's command reaches ``host``; None where it dials directly (pure)."""
    variable, value = named(environment)
    parts = urlsplit(value)
    if not variable or parts.scheme != "http" or not parts.hostname:
        return None
    exempting = next((environment[name] for name in _EXEMPTING if environment.get(name)), "")
    if any(_exempts(entry.strip(), host) for entry in exempting.split(",")):
        return None
    secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    return Proxy(variable, parts.hostname, parts.port or 80, base64.b64encode(secret.encode()).decode())


def _exempts(entry: str, host: str) -> bool:
    name = entry.lower().removeprefix(".")
    if not name:
        return False
    try:
        network = ipaddress.ip_network(name, strict=False)
        return ipaddress.ip_address(host) in network
    except ValueError:  # one of the two is a name; the addresses behind a name are not compared
        return host.lower() == name or host.lower().endswith(f".{name}")


def judge_environment(host: str, environment: Mapping[str, str]) -> Finding:
    """What the environment's proxy does to connections to ``host`` (pure)."""
    variable, value = named(environment)
    if not variable:
        shouted = [name.upper() for name in (*_VARIABLES, "all_proxy") if environment.get(name.upper())]
        shouted += ["all_proxy"] if environment.get("all_proxy") else []
        if shouted:
            message = f"{shouted[0]} names a proxy, and is not looked at: all connections are made directly"
            return Finding("D0401", message, f"write `{_VARIABLES[1]}` in lower case, if commands are to use a proxy")
        return in_order(Topic.PROXY, "the environment names no proxy")
    proxy = proxy_for(host, environment)
    if proxy is None and urlsplit(value).scheme != "http":
        message = f"{variable} names a proxy without `http://`, which is not used: all connections are made directly"
        return Finding("D0401", message, f"write it as {variable}=http://HOST:PORT, if commands are to use it")
    if proxy is None:
        return in_order(Topic.PROXY, f"{variable} names a proxy, and no_proxy leaves `{host}` out")
    message = (
        f"commands of people reach `{host}` through the proxy `{proxy}` ({variable}); server and sites, which "
        "`cloister up` starts without it, dial directly"
    )
    return Finding("D0404", message, _OUT.format(host=host))


def ask(proxy: Proxy, host: str, port: int, seconds: float) -> Tunnel:
    """Ask ``proxy`` for a way to ``host``, and hang up."""
    try:
        with socket.create_connection((proxy.host, proxy.port), timeout=seconds) as stream:
            return open_tunnel(stream, proxy, host, port)
    except OSError as error:
        return Tunnel(0, (error.strerror or str(error)).lower())


def open_tunnel(stream: socket.socket, proxy: Proxy, host: str, port: int) -> Tunnel:
    """Ask ``proxy`` at the other end of ``stream`` for a way to ``host``; behind a 2xx the way is open.

    Raises:
        OSError: where the proxy hangs up or says nothing.
    """
    lines = [f"CONNECT {host}:{port} HTTP/1.1", f"Host: {host}:{port}"]
    lines += [f"Proxy-Authorization: Basic {proxy.credentials}"] if proxy.credentials else []
    stream.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode("ascii", "replace"))
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _ANSWER_BYTES:
        piece = stream.recv(1)  # not one byte of what comes behind the head may be taken
        if not piece:
            break
        head += piece
    words = head.split(b"\r\n", 1)[0].split()
    is_http = len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit()
    return Tunnel(int(words[1])) if is_http else Tunnel(0, "it does not speak HTTP")


def judge_tunnel(proxy: Proxy, tunnel: Tunnel, host: str, port: int) -> Finding:
    """What a proxy's answer says (pure)."""
    hint = _OUT.format(host=host)
    if 200 <= tunnel.status < 300:
        return in_order(Topic.PROXY, f"the proxy `{proxy}` opens a way to `{host}` port {port}")
    if tunnel.status:
        why = " (it asks for a password)" if tunnel.status == 407 else ""
        return Finding(
            "D0402", f"the proxy `{proxy}` refuses a way to `{host}` port {port}: {tunnel.status}{why}", hint
        )
    return Finding("D0403", f"the proxy `{proxy}` cannot be asked: {tunnel.said}", hint)
