# SPDX-License-Identifier: Apache-2.0
"""A handshake of mutual TLS in memory, by OpenSSL, at whatever time it is told that it is."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL

_ROUNDS = 10


def _context(key: Path, certificate: Path, roots: Path, when: datetime) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.use_privatekey_file(str(key))
    context.use_certificate_file(str(certificate))
    context.load_verify_locations(str(roots))
    store = context.get_cert_store()
    assert store is not None
    store.set_time(when)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *found: bool(found[-1]))
    return context


def shake_hands(server: tuple[Path, Path, Path], client: tuple[Path, Path, Path], when: datetime) -> bool:
    """Whether OpenSSL lets the two speak to each other at ``when``.

    Args:
        server: paths of key, certificate and roots.
        client: likewise.
        when: aware time.
    """
    ends = [SSL.Connection(_context(*files, when), None) for files in (server, client)]
    ends[0].set_accept_state()
    ends[1].set_connect_state()
    done = [False, False]
    try:
        for _ in range(_ROUNDS):
            for here, there in ((1, 0), (0, 1)):
                if not done[here]:
                    with contextlib.suppress(SSL.WantReadError):
                        ends[here].do_handshake()
                        done[here] = True
                with contextlib.suppress(SSL.WantReadError):
                    ends[there].bio_write(ends[here].bio_read(1 << 16))
        # Under TLS 1.3 a client is done before the server has looked at its certificate.
        ends[1].send(b"word")
        ends[0].bio_write(ends[1].bio_read(1 << 16))
        return all(done) and ends[0].recv(4) == b"word"
    except SSL.Error:
        return False


def peer_of(path: Path) -> x509.Certificate:
    """The certificate at ``path``."""
    return x509.load_pem_x509_certificate(path.read_bytes())
