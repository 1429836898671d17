# SPDX-License-Identifier: Apache-2.0
"""Does the name of the server's host lead to an address, and does anything listen there?"""

from __future__ import annotations

import errno
import ipaddress
import socket
import time
from dataclasses import dataclass
from enum import StrEnum

from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order

DIAL_SECONDS = 3.0

# RFC 2606 and getaddrinfo(3): what a resolver that works says of a name that there is not.
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EPERM})


@dataclass(frozen=True)
class Resolution:
    """What the resolver made of a name.

    Attributes:
        host: the name.
        addresses: what it stands for.
        failure: the number that getaddrinfo(3) gave instead; None where it did not fail.
    """

    host: str
    addresses: tuple[str, ...] = ()
    failure: int | None = None


class Answer(StrEnum):
    """What became of an attempt to connect."""

    OPEN = "open"
    REFUSED = "refused"
    SILENT = "silent"
    NO_WAY = "no-way"


@dataclass(frozen=True)
class Dialled:
    """What became of attempts to connect to each address.

    Attributes:
        answer: of the address that answered best.
        address: which that is.
        said: the system's words where it is not open.
    """

    answer: Answer
    address: str
    said: str = ""


def resolve(host: str) -> Resolution:
    """Ask the system's resolver."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return Resolution(host, failure=error.errno)
    except UnicodeError:  # a label that is empty or longer than 63 octets
        return Resolution(host, failure=socket.EAI_NONAME)
    return Resolution(host, tuple(dict.fromkeys(str(each[4][0]) for each in found)))


def judge_resolution(found: Resolution, *, server_here: bool) -> Finding:
    """What ``found`` says (pure).

    Args:
        found: what came.
        server_here: whether the server's key lies on this machine.
    """
    host = found.host
    if found.failure in _NO_SUCH_NAME:
        hint = "compare `server.host` in provisioning/federation.yaml with the name that the server's people gave you"
        return Finding("D0101", f"the server's host `{host}` does not resolve: there is no such name", hint)
    if found.failure is not None or not found.addresses:
        hint = "see /etc/resolv.conf, and that this machine may reach its name servers"
        return Finding("D0102", f"the server's host `{host}` does not resolve: no name server answers", hint)
    addresses = ", ".join(found.addresses[:4])
    if not server_here and all(is_loopback(address) for address in found.addresses):
        message = f"the server's host `{host}` is this machine ({addresses}), and the server's key does not lie here"
        return Finding("D0103", message, "see `server.host` in provisioning/federation.yaml, and /etc/hosts")
    return in_order(Topic.NAME, f"the server's host `{host}` is {addresses}")


def is_loopback(address: str) -> bool:
    """Whether ``address`` leads back to this machine."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def dial(addresses: tuple[str, ...], port: int, seconds: float = DIAL_SECONDS) -> Dialled:
    """Connect to each of ``addresses`` in turn until one is open; ``seconds`` are shared among them."""
    worst = Dialled(Answer.NO_WAY, addresses[0] if addresses else "", "there is no address")
    for index, address in enumerate(addresses):
        begun = time.monotonic()
        try:
            with socket.create_connection((address, port), timeout=seconds / (len(addresses) - index)):
                return Dialled(Answer.OPEN, address)
        except OSError as error:
            found = Dialled(_answer(error), address, (error.strerror or str(error)).lower())
        seconds = max(0.1, seconds - (time.monotonic() - begun))
        if _RANK[found.answer] >= _RANK[worst.answer]:
            worst = found
    return worst


_RANK = {Answer.NO_WAY: 0, Answer.SILENT: 1, Answer.REFUSED: 2, Answer.OPEN: 3}


def _answer(error: OSError) -> Answer:
    if isinstance(error, ConnectionRefusedError):
        return Answer.REFUSED
    return Answer.NO_WAY if error.errno in _NO_WAY else Answer.SILENT


def judge_port(found: Dialled, host: str, port: int, *, server_here: bool, proxied: bool = False) -> Finding:
    """What ``found`` says (pure).

    Args:
        found: what came.
        host: the name that was dialled.
        port: the port that was.
        server_here: whether the server's key lies on this machine.
        proxied: whether the environment names a proxy.
    """
    place = f"port {port} of `{host}` ({found.address})"
    if found.answer is Answer.OPEN:
        return in_order(Topic.PORT, f"{place} takes connections")
    if found.answer is Answer.REFUSED and server_here:
        return Finding("D0204", f"the server is not running: {place} is closed", "start it: cloister up")
    if found.answer is Answer.REFUSED:
        hint = "ask the server's people whether it runs, and on which port; a firewall may also refuse in its name"
        return Finding("D0201", f"{place} is closed: the machine answers, and nothing listens there", hint)
    outwards = f"allow outgoing TCP from this machine to {found.address} port {port} in the firewall"
    if proxied:
        outwards += "; the environment's proxy does not help, because server and sites dial directly"
    if found.answer is Answer.SILENT:
        said = f"{place} does not answer within the time: a firewall drops what is sent, or the machine is off"
        return Finding("D0202", said, outwards)
    return Finding("D0203", f"there is no way to {place}: {found.said}", f"see this machine's routes; {outwards}")


def port_unknown() -> Finding:
    """What is said where the roster leaves the port to the first start, and there was none."""
    message = "the roster says `port: auto`, and the server has not been started here: nobody knows the port yet"
    return Finding("D0205", message, "where server and sites are on several machines, write a port: `port: 8002`")
