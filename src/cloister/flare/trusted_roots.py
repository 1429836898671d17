# SPDX-License-Identifier: Apache-2.0
"""NVFlare's own checks of certificates, held against every root that is trusted, and against the roster in force.

NVFlare reads the first certificate of `rootCA.pem`, once. There are two while one authority takes over from another,
and which ones they are changes beside a running process.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from nvflare.lighter import utils as lighter
from nvflare.lighter.tool_consts import NVFLARE_SIG_FILE
from nvflare.private.fed.utils import app_deployer
from nvflare.private.fed.utils.identity_utils import IdentityVerifier, InvalidAsserterCert

from cloister.certificates import pem
from cloister.certificates.anchors import read_roots
from cloister.errors import CertificateError, CloisterError
from cloister.flare.substitute import substitute
from cloister.flare.trust_watch import TrustWatch

_verify_folder = lighter.verify_folder_signature_and_get_signers
_verify_name = IdentityVerifier.verify_common_name


def trust_every_root() -> None:
    """Have NVFlare's processes that are started from here know every trusted root, and the roster."""
    substitute(lighter, "verify_folder_signature_and_get_signers", verify_folder)
    substitute(app_deployer, "verify_folder_signature_and_get_signers", verify_folder)
    substitute(IdentityVerifier, "__init__", _begin)
    substitute(IdentityVerifier, "verify_common_name", _verify_by_roster)


def verify_folder(
    src_folder: str, root_ca_path: str, single_signer: bool = False, signature_file: str = NVFLARE_SIG_FILE
) -> tuple[bool, list[tuple[str, str, str]]]:
    """NVFlare's `verify_folder_signature_and_get_signers` with one of the roots at ``root_ca_path``, whichever fits.

    A job is signed at once, so that one root must account for all of it.
    """
    try:
        roots = read_roots(Path(root_ca_path))
        with tempfile.TemporaryDirectory(prefix="roots-") as name:
            for number, root in enumerate(roots):
                path = Path(name) / f"{number}.pem"
                path.write_bytes(pem.certificate_pem(root))
                verified, signers = _verify_folder(src_folder, str(path), single_signer, signature_file)
                if verified:
                    return True, signers
    except Exception:  # noqa: BLE001 - a gate: a signature that cannot be verified is none
        return False, []
    return False, []


def _begin(verifier: Any, root_cert_file: str) -> None:
    verifier.root_cert_file = Path(root_cert_file)
    # Of this process, with the roster beside the roots; NVFlare's server keeps one verifier for all of its life.
    verifier.watch = TrustWatch(verifier.root_cert_file.resolve().parents[1])


def _verify_by_roster(
    verifier: Any, asserted_cn: str, nonce: str, asserter_cert: x509.Certificate, signature: Any, **usage: Any
) -> bool:
    """NVFlare's `IdentityVerifier.verify_common_name` with whichever root fits, and then the roster's word."""
    failure: Exception = InvalidAsserterCert("no authority is trusted here")
    for root in read_roots(verifier.root_cert_file):
        single = IdentityVerifier.__new__(IdentityVerifier)
        single.root_cert, single.root_public_key = root, root.public_key()
        try:
            _verify_name(single, asserted_cn, nonce, asserter_cert, signature, **usage)
        except Exception as error:  # noqa: BLE001 - the next root may fit; the last error is raised below
            failure = error
            continue
        is_server = usage.get("expected_eku") == _OF_A_SERVER
        check_asserted(verifier.watch, asserted_cn, asserter_cert, is_server=is_server)
        return True
    raise failure


_OF_A_SERVER = ExtendedKeyUsageOID.SERVER_AUTH


def check_asserted(watch: TrustWatch, name: str, certificate: x509.Certificate, *, is_server: bool) -> None:
    """See that a certificate that somebody proved to hold is that of ``name`` by the roster in force.

    Raises:
        InvalidAsserterCert: where it is not; says why.
    """
    try:
        identity = watch.holder(pem.certificate_pem(certificate))
        if identity.name != name:
            raise CertificateError(f"the certificate is that of `{identity.name}`")
        if (identity.kind == "server") is not is_server:
            raise CertificateError(f"the certificate of `{identity.name}` is that of a {identity.kind}")
    except CloisterError as error:
        raise InvalidAsserterCert(str(error)) from error
