# SPDX-License-Identifier: Apache-2.0
"""The server's key, certificate and roots, as they are on disk at each handshake.

NVFlare reads them once. gRPC asks again before every handshake where it was given something to ask, so a renewed
certificate and a second root count for the next connection and no process is restarted; the connections that there are
go on. Key, certificate and roots are three files: while they do not fit together, one of them has just been replaced
and the other has not, and the last that did are used.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from nvflare.fuel.f3.drivers import grpc_driver
from nvflare.fuel.f3.drivers.driver_params import DriverParams

from cloister.certificates import pem
from cloister.certificates.keys import is_loose
from cloister.errors import ProvisioningError
from cloister.flare.substitute import substitute
from cloister.flare.trust_watch import Stamp, stamp_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Credentials:
    """What one end of a connection shows, and whom it believes.

    Attributes:
        key: private, PEM.
        certificate: PEM.
        roots: of the authorities, PEM.
    """

    key: bytes
    certificate: bytes
    roots: bytes

    def fit(self) -> bool:
        """Whether the certificate belongs to the key.

        Raises:
            ProvisioningError: where one of them cannot be read. gRPC ends the whole process over an empty certificate.
        """
        shown = pem.parse_certificate(self.certificate, "certificate")
        try:
            key = load_pem_private_key(self.key, password=None)
        except Exception as error:
            raise ProvisioningError("the key beside the certificate cannot be read", hint="cloister doctor") from error
        return bool(key.public_key() == shown.public_key())


class CredentialFiles:
    """The three files of one participant.

    Args:
        key: path of the private key.
        certificate: path of the certificate.
        roots: path of the authorities' certificates.
    """

    def __init__(self, key: Path, certificate: Path, roots: Path) -> None:
        self.key, self.certificate, self.roots = key, certificate, roots
        self._stamp: Stamp = ()

    @classmethod
    def of(cls, params: Mapping[Any, Any], key: DriverParams, certificate: DriverParams) -> CredentialFiles:
        """The files that NVFlare's ``params`` of a connection name.

        Raises:
            ProvisioningError: where they name none.
        """
        found = [params.get(name.value) for name in (key, certificate, DriverParams.CA_CERT)]
        if not all(found):
            raise ProvisioningError("NVFlare was given no key, certificate or roots for its connections")
        return cls(*(Path(str(each)) for each in found))

    @property
    def workspace(self) -> Path:
        """Of the participant whose files they are."""
        return self.roots.resolve().parents[1]

    def read(self) -> Credentials:
        """What the files hold now.

        Raises:
            ProvisioningError: where one cannot be read, or others can read the key.
        """
        if is_loose(self.key):
            raise ProvisioningError(f"the key `{self.key}` can be read by others", hint=f"chmod 600 {self.key}")
        return Credentials(self.key.read_bytes(), pem.read(self.certificate)[0], pem.read(self.roots)[0])

    def changed(self) -> Credentials | None:
        """What they hold, where that is new since the last time and fits together; None otherwise."""
        stamp = stamp_of(self.key, self.certificate, self.roots)
        if stamp == self._stamp:
            return None
        found = self.read()
        if not found.fit():
            return None
        self._stamp = stamp
        return found


def serve_with_files() -> None:
    """Have NVFlare's server that is started from here read its files again as they change."""
    substitute(grpc_driver, "get_grpc_server_credentials", server_credentials)


def server_credentials(params: dict[Any, Any]) -> Any:
    """GRPC's credentials of a listener that demands a certificate from everybody.

    Raises:
        ProvisioningError: where key and certificate do not fit together, or cannot be read.
    """
    files = CredentialFiles.of(params, DriverParams.SERVER_KEY, DriverParams.SERVER_CERT)
    first = files.changed()
    if first is None:
        raise ProvisioningError("the server's certificate does not belong to its key", hint="cloister doctor")

    def fetch() -> Any:
        try:
            found = files.changed()
        except Exception:  # noqa: BLE001 - gRPC would say nothing of it; nobody more is let in by the earlier files
            _log.exception("the server's renewed files cannot be used; it goes on with the earlier ones")
            return None
        return found and _configuration(found)

    params[DriverParams.IMPLEMENTED_CONN_SEC] = "Server mTLS: client auth required"
    return grpc.dynamic_ssl_server_credentials(_configuration(first), fetch, require_client_authentication=True)


def _configuration(found: Credentials) -> Any:
    return grpc.ssl_server_certificate_configuration([(found.key, found.certificate)], root_certificates=found.roots)
