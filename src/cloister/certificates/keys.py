# SPDX-License-Identifier: Apache-2.0
"""Private keys as objects that can be used and written, never as text that can be passed on.

NVFlare 2.9 signs jobs with RSA alone and opens keys without a passphrase, so a key is RSA and its file's mode is its
protection. 3072 bits are 128 bits of strength (NIST SP 800-57 part 1 revision 5, table 2).
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import pem, profile
from cloister.certificates.identity import Identity
from cloister.envelope import sign_with
from cloister.errors import ProvisioningError

MINIMUM_BITS = 3072
MAXIMUM_BITS = 8192  # a verifier's work grows with the modulus, so a huge one is an attack
_PUBLIC_EXPONENT = 65537  # FIPS 186-5, A.1.1: above 2^16
_OTHERS = 0o077


class PrivateKey:
    """An RSA private key."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"<PrivateKey RSA-{self._key.key_size}>"

    @classmethod
    def generate(cls, bits: int = MINIMUM_BITS) -> PrivateKey:
        """Make a key of ``bits`` bits."""
        if not MINIMUM_BITS <= bits <= MAXIMUM_BITS:
            raise ProvisioningError(f"a key of {bits} bits is not between {MINIMUM_BITS} and {MAXIMUM_BITS} bits")
        return cls(rsa.generate_private_key(_PUBLIC_EXPONENT, bits))

    @classmethod
    def load(cls, path: Path) -> PrivateKey:
        """Read the key at ``path``.

        Raises:
            ProvisioningError: if the file is missing, readable by others, encrypted, or no sufficient RSA key.
        """
        return cls(_read(path, trusted=False))

    def write(self, path: Path) -> None:
        """Write the key to a new file of mode 0600 (PKCS #8, RFC 5958).

        Raises:
            ProvisioningError: if there is something at ``path`` already; a key is never overwritten.
        """
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        pem.write_once(path, self._key.private_bytes(encoding, form, serialization.NoEncryption()))

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        """The half that others may have."""
        return self._key.public_key()

    def request(self, identity: Identity) -> bytes:
        """A certificate signing request (RFC 2986) in PEM form, signed with this key, naming ``identity``."""
        builder = x509.CertificateSigningRequestBuilder().subject_name(profile.subject(identity))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message`` that `cloister.envelope` puts beside a statement."""
        return sign_with(self._key, message)

    def certify(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """Sign what ``builder`` says, with RSA PKCS #1 v1.5 and SHA-256 (RFC 4055)."""
        return builder.sign(self._key, hashes.SHA256())

    def sign_crl(self, builder: x509.CertificateRevocationListBuilder) -> x509.CertificateRevocationList:
        """Sign the revocation list that ``builder`` says, likewise."""
        return builder.sign(self._key, hashes.SHA256())


def read_public_key(path: Path) -> rsa.RSAPublicKey:
    """The public half of the key at ``path``, about a hundred times faster than loading the key.

    The primes are not proven here, so this is for comparing only; whoever signs loads the key.

    Raises:
        ProvisioningError: as `PrivateKey.load` does.
    """
    return _read(path, trusted=True).public_key()


def _read(path: Path, *, trusted: bool) -> rsa.RSAPrivateKey:
    content, mode = pem.read(path)
    if mode & _OTHERS:
        hint = f"chmod 600 {path}, and make a new key if somebody may have read this one"
        raise ProvisioningError(f"the key `{path}` can be read by others (mode {mode:04o})", hint=hint)
    try:
        key = serialization.load_pem_private_key(content, None, unsafe_skip_rsa_key_validation=trusted)
    except TypeError as error:
        hint = "NVFlare cannot ask for a passphrase; the file's mode is its protection"
        raise ProvisioningError(f"the key `{path}` is encrypted", hint=hint) from error
    except Exception as error:
        raise ProvisioningError(f"`{path}` does not hold a private key in PEM form") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ProvisioningError(f"the key `{path}` is not an RSA key", hint="NVFlare 2.9 signs with RSA only")
    if fault := weakness(key.public_key()):
        raise ProvisioningError(f"the key `{path}` {fault}")
    return key


def weakness(key: object) -> str:
    """Why ``key`` may not be in a certificate, as the end of a sentence; empty where it may."""
    if not isinstance(key, rsa.RSAPublicKey):
        return "is not an RSA key"
    if key.key_size < MINIMUM_BITS:
        return f"is RSA-{key.key_size}, and {MINIMUM_BITS} bits are the least"
    if key.key_size > MAXIMUM_BITS:
        return f"is RSA-{key.key_size}, and {MAXIMUM_BITS} bits are the most"
    if key.public_numbers().e < _PUBLIC_EXPONENT:
        return f"has a public exponent below {_PUBLIC_EXPONENT}"
    return ""


def is_loose(path: Path) -> bool:
    """Whether anybody but the owner may read or change what is at ``path``; no, where nobody can tell."""
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False
