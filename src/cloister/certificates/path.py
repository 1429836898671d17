# SPDX-License-Identifier: Apache-2.0
"""Certification path validation (RFC 5280, 6.1), by the library's own validator with its strict defaults."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from cloister.certificates import profile
from cloister.certificates.identity import Identity


def path_is_valid(certificate: x509.Certificate, root: x509.Certificate, identity: Identity, now: datetime) -> bool:
    """Ask the library's own validator, with its strict defaults, whether a peer would accept ``certificate``."""
    builder = PolicyBuilder().store(Store([root])).time(now)
    try:
        if identity.kind == "server":
            for name in profile.alternative_names(identity):
                builder.build_server_verifier(_peer(name)).verify(certificate, [])
        builder.build_client_verifier().verify(certificate, [])
    except Exception:  # noqa: BLE001 - a gate: validation that fails, however it fails, has not succeeded
        return False
    return True


def _peer(name: x509.GeneralName) -> x509.DNSName | x509.IPAddress:
    if not isinstance(name, x509.DNSName | x509.IPAddress):
        raise TypeError(type(name).__name__)
    return name
