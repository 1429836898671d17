# SPDX-License-Identifier: Apache-2.0
"""Certification path validation (RFC 5280, 6.1), by the library's own validator with its strict defaults."""

from __future__ import annotations

import re
from datetime import datetime

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from cloister.certificates import profile
from cloister.certificates.identity import Identity
from cloister.certificates.shown import shown

_LIBRARY_WORDS = re.compile(r"validation failed: (candidates exhausted: )?(?P<reason>[^({<]+)")


def path_fault(certificate: x509.Certificate, root: x509.Certificate, identity: Identity, now: datetime) -> str:
    """Why the library does not accept ``certificate`` in its place, as the end of a sentence; empty where it does."""
    builder = PolicyBuilder().store(Store([root])).time(now)
    try:
        if identity.kind == "server":
            for name in profile.alternative_names(identity):
                builder.build_server_verifier(_peer(name)).verify(certificate, [])
        builder.build_client_verifier().verify(certificate, [])
    except Exception as error:  # noqa: BLE001 - a gate: validation that fails, however it fails, has not succeeded
        found = _LIBRARY_WORDS.match(str(error))
        why = f": {shown(found['reason'].strip())}" if found else ""
        return f"does not pass path validation (RFC 5280, 6.1){why}"
    return ""


def _peer(name: x509.GeneralName) -> x509.DNSName | x509.IPAddress:
    if not isinstance(name, x509.DNSName | x509.IPAddress):
        raise TypeError(type(name).__name__)
    return name
