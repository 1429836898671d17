# SPDX-License-Identifier: Apache-2.0
"""A participant's side of the mailbox: it says what it has, and puts in force what comes back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from cryptography import x509

from cloister.certificates import pem, profile
from cloister.flare.last_contact import note_contact
from cloister.flare.trust_watch import TrustWatch
from cloister.provisioning.kit import KitPaths
from cloister.provisioning.renewal import install_certificate, is_due, is_requested, request_renewal
from cloister.trust import Trust, take_up

_log = logging.getLogger(__name__)

Exchange = Callable[[dict[str, Any]], dict[str, Any]]
"""Says what a participant has, and returns what it lacks; see `cloister.flare.mailbox.Mailbox.sync`."""


def exchange_letters(name: str, watch: TrustWatch, exchange: Exchange) -> bool:
    """Take up newer rosters, ask for the next certificate where it is time, and put in place one that has come.

    Args:
        name: whose letters.
        watch: the roster in force there.
        exchange: how the mailbox is asked.

    Returns:
        Whether the certificate is another now.

    Raises:
        CloisterError: where something could not be done; what was done before it stays.
    """
    workspace, now, identity = watch.workspace, watch.clock(), watch.entry(name)
    trust, certificate = watch.trust(), own_certificate(watch, name)
    request = None
    if must_ask(certificate, trust, now) or is_requested(workspace):
        request = request_renewal(workspace, identity, now).decode()
    answer = exchange({"version": trust.version, "have": pem.fingerprint(certificate), "request": request})
    note_contact(workspace, answer, watch.clock())
    for content in list(answer.get("rosters", [])):
        if (newer := take_up(workspace, str(content).encode())) is not None:
            _log.info("version %d of the roster is in force", newer.version)
    if grant := answer.get("grant"):
        return install_certificate(workspace, watch.entry(name), str(grant).encode(), now)
    return False


def own_certificate(watch: TrustWatch, name: str) -> x509.Certificate:
    """The certificate that ``name`` has.

    Raises:
        CloisterError: where it cannot be read, or the roster has no such entry.
    """
    return pem.read_certificate(KitPaths.of(watch.workspace / "startup", watch.entry(name)).certificate)


def must_ask(certificate: x509.Certificate, trust: Trust, now: datetime) -> bool:
    """Whether a participant asks for its next certificate (pure).

    It does past half of the lifetime; and at once where its certificate is by an authority that is handing over, which
    the roster names after the next one.
    """
    return is_due(certificate, now) or not profile.is_issued_by(certificate, trust.anchors.roots[0])
