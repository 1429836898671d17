# SPDX-License-Identifier: Apache-2.0
"""Mutual TLS with the server, once as NVFlare's own connection would be, and once to see what the server shows.

The first connection verifies. Where it does not come to an end, a second one that verifies nothing and says nothing
fetches the server's certificate, so that somebody can be told which one it is. A server that refuses *our* certificate
says so behind the handshake under TLS 1.3 (RFC 8446, 4.4.2 and 6.2), so one is not done before the server has spoken
HTTP/2 (RFC 9113, 3.4), which gRPC runs on.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from cryptography import x509

from cloister.doctor.proxy import Proxy, open_tunnel
from cloister.provisioning import KitPaths

SECONDS = 2.0
"""How long each of at most three connections may keep silent."""

_FIRST_WORD_SECONDS = 0.5
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_EMPTY_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_SETTINGS = 4  # the type of the frame that a server must send first
_SHOWN_CHARACTERS = 60

# What OpenSSL calls an answer that is no TLS record.
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL")


class Outcome(StrEnum):
    """How far it came."""

    ESTABLISHED = "established"
    WE_REFUSE = "we-refuse"
    THEY_REFUSE = "they-refuse"
    TOO_EARLY = "refused-before-certificates"
    HUNG_UP = "hung-up"
    SILENT = "silent"
    OTHER_SERVICE = "other-service"
    NO_TLS = "no-tls"


@dataclass(frozen=True)
class Target:
    """Where to dial.

    Attributes:
        host: the name that the server's certificate must bear.
        address: the address, or the name, that is dialled.
        port: the port.
        proxy: through which proxy; None for directly.
    """

    host: str
    address: str
    port: int
    proxy: Proxy | None = None

    @contextlib.contextmanager
    def connected(self, seconds: float) -> Iterator[socket.socket]:
        """An open connection.

        Raises:
            OSError: where there is none.
        """
        place = (self.proxy.host, self.proxy.port) if self.proxy else (self.address, self.port)
        with socket.create_connection(place, timeout=seconds) as stream:
            if self.proxy and not 200 <= open_tunnel(stream, self.proxy, self.host, self.port).status < 300:
                raise ConnectionError("the proxy opens no way")
            yield stream


@dataclass(frozen=True)
class Handshake:
    """What was seen.

    Attributes:
        outcome: how far it came.
        said: OpenSSL's name of what was wrong, or of the server's alert; for another service, how its answer begins.
        certificate: what the server showed; None where it showed nothing.
        version: of TLS, such as `TLSv1.3`.
        showed_ours: whether our own certificate could be shown.
    """

    outcome: Outcome
    said: str = ""
    certificate: x509.Certificate | None = None
    version: str = ""
    showed_ours: bool = True


def shake_hands(target: Target, paths: KitPaths, secret: bytes, seconds: float = SECONDS) -> Handshake:
    """Do what a site or person does to speak to the server, as far as that goes.

    Args:
        target: where.
        paths: of key, certificate and roots.
        secret: the passphrase of the key; empty where there is none.
        seconds: how long each connection may keep silent.

    Raises:
        OSError: where the roots cannot be read, or there is no connection.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=paths.root)
    shows = _show(context, paths, secret)
    found = _attempt(target, context, seconds)
    if found.outcome is Outcome.NO_TLS:
        return replace(found, said=_greeting(target, seconds))
    if found.certificate is None and found.outcome is not Outcome.SILENT:
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        _show(unverified, paths, secret)
        with contextlib.suppress(OSError):  # what the first attempt saw is told in any case
            found = replace(found, certificate=_attempt(target, unverified, seconds).certificate)
    return replace(found, showed_ours=shows)


def _show(context: ssl.SSLContext, paths: KitPaths, secret: bytes) -> bool:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    try:
        # Always with a passphrase, because OpenSSL asks the terminal for one that is missing.
        context.load_cert_chain(paths.certificate, paths.key, secret)
    except (OSError, ValueError):  # what is wrong with the two is told with the kit
        return False
    return True


def _attempt(target: Target, context: ssl.SSLContext, seconds: float) -> Handshake:
    with target.connected(seconds) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=target.host) as stream:
                shown, version = _certificate_of(stream), stream.version() or "TLS"
                return replace(_spoken(stream), certificate=shown, version=version)
        except ssl.SSLCertVerificationError as error:
            return Handshake(Outcome.WE_REFUSE, error.verify_message)
        except ssl.SSLError as error:
            return _broken_off(error)
        except TimeoutError:
            return Handshake(Outcome.SILENT)
        except OSError as error:
            return Handshake(Outcome.HUNG_UP, (error.strerror or "").lower())


def _broken_off(error: ssl.SSLError) -> Handshake:
    reason = error.reason or ""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Handshake(Outcome.HUNG_UP)
    if any(word in reason for word in _NO_TLS):
        return Handshake(Outcome.NO_TLS, reason)
    if "_ALERT_" in reason:
        alert = reason.partition("_ALERT_")[2]
        return Handshake(Outcome.THEY_REFUSE if alert in ABOUT_CERTIFICATES else Outcome.TOO_EARLY, alert)
    return Handshake(Outcome.TOO_EARLY, reason)


def _spoken(stream: ssl.SSLSocket) -> Handshake:
    """What the server says once the handshake is done on our side."""
    seconds = stream.gettimeout()
    head: bytes | None = None
    try:
        # A server of gRPC's speaks first, and so does one that refuses us; what we send to a connection that it has
        # closed would only make the system throw its reason away.
        stream.settimeout(_FIRST_WORD_SECONDS)
        with contextlib.suppress(TimeoutError):
            head = stream.recv(64)
        stream.settimeout(seconds)
        if head is None:
            stream.sendall(_PREFACE + _EMPTY_SETTINGS)
            head = stream.recv(64)
        while head and len(head) < len(_EMPTY_SETTINGS) and (piece := stream.recv(64)):
            head += piece
    except ssl.SSLError as error:
        return _broken_off(error)
    except TimeoutError:
        return Handshake(Outcome.SILENT)
    except OSError:
        return Handshake(Outcome.HUNG_UP)
    if not head:
        return Handshake(Outcome.HUNG_UP)
    if len(head) < len(_EMPTY_SETTINGS) or head[3] != _SETTINGS:
        return Handshake(Outcome.OTHER_SERVICE, cleaned(head))
    return Handshake(Outcome.ESTABLISHED)


def _certificate_of(stream: ssl.SSLSocket) -> x509.Certificate | None:
    content = stream.getpeercert(binary_form=True)
    return None if content is None else x509.load_der_x509_certificate(content)


def _greeting(target: Target, seconds: float) -> str:
    """How a service that speaks no TLS answers to HTTP, which most either speak or complain of."""
    with contextlib.suppress(OSError), target.connected(seconds) as stream:
        stream.sendall(f"GET / HTTP/1.0\r\nHost: {target.host}\r\n\r\n".encode("ascii", "replace"))
        return cleaned(stream.recv(256))
    return ""


def cleaned(content: bytes) -> str:
    """The first line of what a stranger sent, as far as it can be shown."""
    line = content.decode("latin-1").splitlines()[:1]
    return "".join(each for each in "".join(line) if " " <= each <= "~")[:_SHOWN_CHARACTERS]


ABOUT_CERTIFICATES = {
    "BAD_CERTIFICATE": "it is damaged, or not what a server accepts",
    "UNSUPPORTED_CERTIFICATE": "it is of a kind that the server does not accept",
    "CERTIFICATE_REVOKED": "it has been revoked",
    "CERTIFICATE_EXPIRED": "it has expired by the server's clock, or is not valid yet",
    "CERTIFICATE_UNKNOWN": "the server does not say why",
    "UNKNOWN_CA": "the server trusts another authority",
    "ACCESS_DENIED": "the server does not admit it",
    "CERTIFICATE_REQUIRED": "none was shown",
    "DECRYPT_ERROR": "its signature does not hold",
}
"""The alerts with which a server refuses a certificate (RFC 8446, 6.2), as OpenSSL calls them, and what each means."""

__all__ = ["ABOUT_CERTIFICATES", "SECONDS", "Handshake", "Outcome", "Target", "cleaned", "shake_hands"]
