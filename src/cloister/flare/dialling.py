# SPDX-License-Identifier: Apache-2.0
"""How a participant dials the server: only the very certificate that the roster names is believed.

gRPC in Python offers no look at the server's certificate, and would take every one that the authority signed for that
host, a revoked one too. So the server is asked for its certificate in a handshake of its own, the certificate is judged
by the roster in force here, and gRPC is given that one certificate as its only root: BoringSSL takes a chain that ends
at any certificate in its store (X509_V_FLAG_PARTIAL_CHAIN), so nobody with another can be at the other end of the
connection that follows. What is wrong is thereby known in words, which gRPC does not give. Where the roster here does
not know the certificate, newer ones are asked for first (`cloister.flare.roster_service`).
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from nvflare.fuel.f3.comm_error import CommError
from nvflare.fuel.f3.drivers import grpc_driver
from nvflare.fuel.f3.drivers.driver_params import DriverParams

from cloister.certificates import pem
from cloister.errors import CertificateError, CloisterError
from cloister.flare.roster_service import fetch_rosters
from cloister.flare.server_credentials import CredentialFiles, Credentials
from cloister.flare.substitute import substitute
from cloister.flare.trust_watch import Holder, TrustWatch

_SECONDS = 10.0

_log = logging.getLogger(__name__)

Trouble = Callable[[str], None]
"""Is told why the server could not be dialled."""


@dataclass(frozen=True)
class Dialled:
    """What was shown at the last dialling of this process.

    Attributes:
        own: certificate of this participant, PEM.
        server: certificate of the server, PEM.
    """

    own: bytes
    server: bytes


latest: list[Dialled] = []
"""One, or none before the first dialling."""


def dial_carefully(trouble: Trouble) -> None:
    """Have NVFlare's participants that are started from here dial only the server that the roster names.

    Args:
        trouble: told of everything but a server that cannot be reached.
    """

    def credentials(params: dict[Any, Any]) -> Any:
        try:
            return channel_credentials(params, trouble)
        except CloisterError as error:
            trouble(str(error))
            raise CommError(CommError.ERROR, str(error)) from error

    substitute(grpc_driver, "get_grpc_client_credentials", credentials)


def channel_credentials(params: dict[Any, Any], trouble: Trouble) -> Any:
    """What gRPC shows and believes at the place that ``params`` name.

    Args:
        params: NVFlare's, of the connection.
        trouble: told where this participant's own certificate does not count, which only the server can decide.

    Raises:
        CloisterError: where its certificate is not the server's, or this participant's own files are not in order.
        OSError: where nothing answers there.
    """
    files = CredentialFiles.of(params, DriverParams.CLIENT_KEY, DriverParams.CLIENT_CERT)
    own = files.read()
    if not own.fit():
        raise CertificateError("the certificate here does not belong to the key beside it", hint="cloister doctor")
    host, port = str(params[DriverParams.HOST.value]), int(params[DriverParams.PORT.value])
    shown, watch = certificate_at(host, port, files), TrustWatch(files.workspace)
    try:
        watch.holder(own.certificate)
    except CertificateError as error:  # one that has ended the server's gRPC refuses without a word
        trouble(f"the certificate here does not count: {error}")
    credentials = _credentials(own, shown)
    doubt = doubt_about(shown, watch)
    # The server's renewed certificate may be in a roster that has not come here.
    if doubt and fetch_rosters(f"{host}:{port}", credentials, files.workspace, watch.trust().version):
        doubt = doubt_about(shown, watch)
    if doubt:
        raise doubt
    latest[:] = [Dialled(own.certificate, shown)]
    params[DriverParams.IMPLEMENTED_CONN_SEC] = "Client mTLS: the server's own certificate is believed, and no other"
    return credentials


def _credentials(own: Credentials, server: bytes) -> Any:
    return grpc.ssl_channel_credentials(
        root_certificates=server, private_key=own.key, certificate_chain=own.certificate
    )


def doubt_about(certificate: bytes, watch: TrustWatch) -> CertificateError | None:
    """Why ``certificate`` is not the server's by the roster in force, or is not in it; nothing where it is.

    The judgement alone lets pass what may be in a newer roster (`cloister.trust.judge.may_be_in_a_newer`), since not
    everybody can ask for that one. Here it can be asked for.
    """
    try:
        check_server(certificate, watch.holder)
        trust, found = watch.trust(), pem.fingerprint(pem.parse_certificate(certificate, "certificate"))
    except CertificateError as error:
        return error
    if found in trust.pins.get(trust.federation.server.name, frozenset()):
        return None
    hint = f"see version {trust.version} of the roster"
    return CertificateError("the server is not believed: its certificate was not issued for that entry", hint=hint)


def check_server(certificate: bytes, holder: Holder) -> None:
    """See that ``certificate`` is the server's by the roster in force.

    Raises:
        CertificateError: where it is not.
    """
    try:
        identity = holder(certificate)
    except CertificateError as error:
        raise CertificateError(f"the server is not believed: {error.message}", hint=error.hint) from error
    if identity.kind != "server":
        raise CertificateError(f"the server is not believed: its certificate is that of the {identity.kind}")


def certificate_at(host: str, port: int, files: CredentialFiles | None = None) -> bytes:
    """The certificate, in PEM form, that is shown at a place; nothing is believed of it yet.

    Args:
        host: name or address.
        port: TCP port.
        files: what is shown there; without any the server logs that nobody introduced themselves.

    Raises:
        OSError: where nothing answers there, or not with TLS 1.3.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # in which the server shows its own before it asks for ours
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if files is not None:
        context.load_cert_chain(files.certificate, files.key)
    with (
        socket.create_connection((host, port), timeout=_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        der = secured.getpeercert(binary_form=True)
    if not der:
        raise CertificateError(f"`{host}:{port}` shows no certificate")
    return ssl.DER_cert_to_PEM_cert(der).encode()  # whether it can be read is for the judgement to say
