# SPDX-License-Identifier: Apache-2.0
"""What is looked at where the server's key lies: its port, its hosts, what it serves, and who waits for an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from cryptography import x509

from cloister.certificates import pem
from cloister.doctor import spans
from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order
from cloister.doctor.handshake import Handshake
from cloister.doctor.peer import alternative_names
from cloister.roster import Server
from cloister.trust import Trust

WAITING = timedelta(days=3)
"""How long a request may wait before somebody is told."""


def who_listens(port: int) -> str:
    """What has ``port`` of this machine, as far as this user may know; empty where nobody can tell."""
    for each in psutil.net_connections("tcp"):
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid:
            try:
                return f"{psutil.Process(each.pid).name()} (process {each.pid})"
            except psutil.Error:
                return f"process {each.pid}"
    return ""


def judge_own_port(port: int | None, *, runs: bool, free: bool, holder: str) -> Finding:
    """Whether the server has its port, or can have it (pure).

    Args:
        port: the server's; None where it is not chosen yet.
        runs: whether the server runs.
        free: whether nobody listens there.
        holder: who does, as far as that is known.
    """
    if port is None:
        return in_order(Topic.SERVER, "the port is chosen as the server first starts")
    if runs and not free:
        return in_order(Topic.SERVER, f"the server runs and has port {port}")
    if runs:
        message = f"the server runs, and nothing listens on port {port} yet"
        return Finding("D0204", message, "wait a few seconds; else see what it printed in `.cloister/logs/`")
    if not free:
        who = f" by {holder}" if holder else ""
        hint = "stop that, or write another `server.port` into provisioning/federation.yaml and publish the roster"
        return Finding("D1601", f"port {port} is taken{who}, and the server does not run", hint)
    return in_order(Topic.SERVER, f"port {port} is free for the server, which does not run")


def judge_hosts(certificate: x509.Certificate, server: Server) -> Finding:
    """Whether the server's own certificate names every host of the roster (pure)."""
    named = alternative_names(certificate)
    absent = [host for host in dict.fromkeys((server.host, *server.other_hosts)) if host.lower() not in named]
    if absent:
        listed = ", ".join(f"`{host}`" for host in absent)
        message = f"the server's certificate does not name {listed}, which the roster does: nobody can dial that"
        return Finding("D1602", message, f"renew it: cloister renew {server.name}")
    return in_order(Topic.SERVER, f"the certificate names every host: {', '.join(named)}")


def judge_served(found: Handshake, certificate: x509.Certificate) -> Finding | None:
    """Whether the running server shows the certificate that lies here (pure); None where it does, or shows none."""
    if found.certificate is None or found.certificate == certificate:
        return None
    old = pem.fingerprint(found.certificate)[:16]
    message = f"the running server shows another certificate ({old}…) than the one that lies here"
    hint = "it takes up the new one as soon as key, certificate and roots fit together; look again in a minute"
    return Finding("D1603", message, hint)


def waiting(folder: Path) -> dict[str, datetime]:
    """Since when each request has lain in the mailbox ``folder``, by whose it is.

    Raises:
        OSError: where one cannot be looked at.
    """
    return {
        path.stem: datetime.fromtimestamp(path.stat().st_mtime, UTC)
        for path in sorted((folder / "requests").glob("*.json"))
    }


def judge_mailbox(
    requests: Mapping[str, datetime], newest: int, trust: Trust | None, now: datetime
) -> Iterator[Finding]:
    """What lies in the mailbox too long (pure).

    Args:
        requests: since when each waits, by whose it is.
        newest: the highest version of a roster in the mailbox; 0 where there is none.
        trust: the server's roster in force.
        now: aware time.
    """
    found: list[Finding] = []
    old = sorted((since, name) for name, since in requests.items() if now - since > WAITING)
    if old:
        since, name = old[0]
        message = f"{len(old)} requests wait in the mailbox, that of `{name}` for {spans.said(now - since)}"
        hint = "the authority's people answer them: `cloister authority collect`, `approve` and `deposit`"
        found.append(Finding("D1604", message, hint))
    if trust is not None and newest > trust.version:
        message = f"version {newest} of the roster lies in the mailbox, and the server has version {trust.version}"
        found.append(Finding("D1605", message, "the server takes it up by itself within a minute; else see its log"))
    count = f"{len(requests)} requests wait" if requests else "no request waits"
    yield from found or [in_order(Topic.SERVER, f"{count} in the mailbox")]
