# SPDX-License-Identifier: Apache-2.0
"""What NVFlare's server signs with, as its key is renewed: tokens that it gave before still count.

The server signs a token for each participant that registers, and the token goes with every message. NVFlare loads the
key once. With a renewed one at hand, what is signed from then on is signed with it. What was signed with an earlier key
counts as well, and after a restart too, because a running job names its sites by their tokens, and a site that is
answered "unauthenticated" asks again for ever and never registers anew. It does no harm that an earlier key may be in
other hands by now: a token counts over the connection of its own participant alone (`cloister.flare.traffic`), and that
connection's certificate is judged by itself.

To a participant that has registered with an earlier certificate the server still signs with that one's key: that is the
one which they know.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from cryptography import x509
from nvflare.apis.fl_constant import SecureTrainConst
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.fuel.sec.authn import add_authentication_headers
from nvflare.lighter.utils import verify_content
from nvflare.private.fed.server.cred_keeper import CredKeeper
from nvflare.private.fed.server.fed_server import FederatedServer
from nvflare.private.fed.utils.identity_utils import IdentityAsserter, TokenVerifier

from cloister.certificates import pem
from cloister.errors import CertificateError
from cloister.files import private_folder, write_atomically
from cloister.flare.substitute import substitute
from cloister.flare.trust_watch import Stamp, stamp_of
from cloister.trust.in_force import FOLDER

_MOST_EARLIER = 20
_MOST_KNOWN = 5000


class ServerIdentity:
    """The server's key and certificate, and its earlier certificates.

    Args:
        key: path of the key.
        certificate: path of the certificate.
        folder: where its certificates are remembered.
    """

    def __init__(self, key: Path, certificate: Path, folder: Path) -> None:
        self._paths = key, certificate
        self._folder = folder
        self._lock = threading.Lock()
        self._stamp: Stamp = ()
        self._asserter: Any = None
        self._earlier: list[x509.Certificate] = []
        self._known: dict[str, Any] = {}

    def asserter(self) -> Any:
        """NVFlare's asserter with the key as it is on disk; the last one that fits, while the files are replaced."""
        with self._lock:
            stamp = stamp_of(*self._paths)
            if stamp != self._stamp:
                found = IdentityAsserter(*map(str, self._paths))
                if found.pri_key.public_key() == found.cert.public_key():
                    self._stamp, self._asserter = stamp, found
                    self._remember(found.cert)
                elif self._asserter is None:
                    raise CertificateError("the server's certificate does not belong to its key")
            return self._asserter

    def _remember(self, certificate: x509.Certificate) -> None:
        """Keep ``certificate`` for the time after it, and learn which ones there were."""
        private_folder(self._folder)
        write_atomically(self._folder / f"{pem.fingerprint(certificate)}.pem", pem.certificate_pem(certificate))
        paths = sorted(self._folder.glob("*.pem"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in paths[_MOST_EARLIER:]:
            path.unlink(missing_ok=True)
        found = [pem.read_certificate(path) for path in paths[:_MOST_EARLIER]]
        self._earlier = [each for each in found if each.public_key() != certificate.public_key()]

    def signed_earlier(self, content: str, signature: Any) -> bool:
        """Whether ``content`` was signed with an earlier key of the server's."""
        return any(_verifies(certificate, content, signature) for certificate in self._earlier)

    def introduce(self, to: str) -> None:
        """Remember that the process called ``to`` was shown the latest certificate."""
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[to] = self.asserter()

    def known_to(self, process: str) -> Any:
        """The asserter whose certificate ``process`` was shown, or the latest."""
        return self._known.get(process) or self.asserter()


def _verifies(certificate: x509.Certificate, content: str, signature: Any) -> bool:
    try:
        verify_content(content=content, signature=signature, public_key=certificate.public_key())
    except Exception:  # noqa: BLE001 - a gate: a signature that cannot be verified is none of this key's
        return False
    return True


def sign_with_renewed_key(workspace: Path) -> None:
    """Have NVFlare's server that is started from here use its key and certificate as they are on disk.

    Args:
        workspace: the server's.
    """
    found: list[ServerIdentity] = []

    def identity(keeper: Any, fl_ctx: Any) -> ServerIdentity | None:
        if not found:
            config = keeper._get_server_config(fl_ctx)
            paths = config.get(SecureTrainConst.PRIVATE_KEY), config.get(SecureTrainConst.SSL_CERT)
            if not all(paths):
                return None
            found.append(ServerIdentity(Path(paths[0]), Path(paths[1]), workspace / FOLDER / "own"))
        return found[0]

    def get_id_asserter(keeper: Any, fl_ctx: Any) -> Any:
        with keeper._lock:
            own = identity(keeper, fl_ctx)
            return own.asserter() if own else None

    substitute(CredKeeper, "get_id_asserter", get_id_asserter)
    _use_for_messages(found)


def _use_for_messages(found: list[ServerIdentity]) -> None:
    """Have tokens and messages go by the identity in ``found``, once it is there."""
    challenge, verify = FederatedServer.client_challenge, TokenVerifier.verify

    def client_challenge(server: Any, request: Any) -> Any:
        reply = challenge(server, request)
        if found:
            found[0].introduce(str(request.get_header(MessageHeaderKey.ORIGIN)))
        return reply

    def verify_token(verifier: Any, client_name: str, token: str, signature: Any) -> bool:
        own = found[0] if found else None
        if own is not None and own.signed_earlier(client_name + token, signature):
            return True
        return bool(verify(verifier, client_name, token, signature))

    def add_auth_headers(server: Any, message: Any) -> None:
        if server._get_id_asserter() is None:
            raise CertificateError("the server has no key to sign its messages with")
        name, token = server.my_own_auth_client_name, server.my_own_token
        asserter = found[0].known_to(str(message.get_header(MessageHeaderKey.DESTINATION)))
        add_authentication_headers(message, name, token, _signature_of(asserter, name + token))

    substitute(FederatedServer, "client_challenge", client_challenge)
    substitute(FederatedServer, "_add_auth_headers", add_auth_headers)
    substitute(TokenVerifier, "verify", verify_token)


def _signature_of(asserter: Any, content: str) -> str:
    """What ``asserter`` signs into each message; made once."""
    if getattr(asserter, "own_signature", None) is None:
        asserter.own_signature = asserter.sign(content, return_str=True)
    return str(asserter.own_signature)
