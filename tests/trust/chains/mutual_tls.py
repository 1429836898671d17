# SPDX-License-Identifier: Apache-2.0
"""A mutual handshake over a loopback socket, in which OpenSSL is as lax as it can be made."""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

_SECONDS = 5.0


@dataclass(frozen=True)
class Side:
    """One end.

    Attributes:
        certificate: file that it shows, the leaf first.
        key: private, of the certificate.
        roots: file with whom it believes.
    """

    certificate: bytes
    key: Any
    roots: bytes

    def context(self, folder: Path, side: int) -> ssl.SSLContext:
        """Mutual TLS with these files.

        Raises:
            ssl.SSLError: where OpenSSL cannot load them.
        """
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        shown, key = folder / f"shown-{side}", folder / f"key-{side}"
        shown.write_bytes(self.certificate)
        key.write_bytes(self.key.private_bytes(*form))
        context = ssl.SSLContext(side)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # so that weak keys and digests are left to the judgement
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.roots.decode())
        context.load_cert_chain(shown, key)
        return context


def shake_hands(folder: Path, server: Side, client: Side, whose: str) -> bytes | None:
    """The certificate that was seen of the server or the client; None where the handshake came to nothing."""
    try:
        serving = server.context(folder, ssl.PROTOCOL_TLS_SERVER)
        dialling = client.context(folder, ssl.PROTOCOL_TLS_CLIENT)
    except ssl.SSLError:
        return None
    seen: dict[str, bytes | None] = {}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_SECONDS)

        def serve() -> None:
            plain, _ = listener.accept()
            plain.settimeout(_SECONDS)
            try:
                with serving.wrap_socket(plain, server_side=True) as stream:
                    seen["client"] = stream.getpeercert(binary_form=True)
                    stream.sendall(stream.recv(16))
            except OSError:
                plain.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), timeout=_SECONDS) as plain,
                dialling.wrap_socket(plain, server_hostname="localhost") as stream,
            ):
                seen["server"] = stream.getpeercert(binary_form=True)
                stream.sendall(b"word")
                stream.recv(16)
        except OSError:
            pass
        finally:
            thread.join()
    return seen.get("server" if whose == "server" else "client")
