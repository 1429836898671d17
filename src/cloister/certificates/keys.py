# SPDX-License-Identifier: Apache-2.0
"""Private keys as objects that can be used and written, never as text that can be passed on.

NVFlare 2.9 signs jobs with RSA alone, so a key is RSA. 3072 bits are 128 bits of strength (NIST SP 800-57 part 1
revision 5, table 2).

A key that is made by a process with a passphrase is written encrypted, and one that is encrypted is opened with it
(`cloister.certificates.passphrase`). The form is PKCS #8 with PBES2 (RFC 8018, 6.2): AES-256-CBC under a key derived
with PBKDF2-HMAC-SHA-256, 2048 iterations and 16 bytes of salt, which is what cryptography's `BestAvailableEncryption`
writes and OpenSSL reads. So few iterations slow nobody down who guesses, so the passphrase itself has to be one that
nobody guesses. Whether a key is encrypted stands in its first line.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import passphrase, pem, profile
from cloister.certificates.identity import Identity
from cloister.certificates.passphrase import Passphrase
from cloister.envelope import sign_with
from cloister.errors import ProvisioningError

MINIMUM_BITS = 3072
MAXIMUM_BITS = 8192  # a verifier's work grows with the modulus, so a huge one is an attack
_PUBLIC_EXPONENT = 65537  # FIPS 186-5, A.1.1: above 2^16
_OTHERS = 0o077
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


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
    def load(cls, path: Path, opened_with: Passphrase | None = None) -> PrivateKey:
        """Read the key at ``path``.

        Args:
            path: its file.
            opened_with: the passphrase that it must be encrypted with; where not given, this process's own, if it is
                encrypted.

        Raises:
            ProvisioningError: if the file is missing, readable by others, no sufficient RSA key, encrypted without the
                passphrase at hand or with another, or not encrypted although a passphrase was given for it.
        """
        return cls(_read(path, opened_with, trusted=False))

    def write(self, path: Path, sealed_with: Passphrase | None = None) -> None:
        """Write the key to a new file of mode 0600 (PKCS #8, RFC 5958).

        Args:
            path: where.
            sealed_with: what to encrypt it with; where not given, this process's own passphrase. Without either it is
                not encrypted.

        Raises:
            ProvisioningError: if there is something at ``path`` already, as a key is never overwritten; or the
                passphrase is too short.
        """
        sealed_with = sealed_with or passphrase.own()
        scheme: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if sealed_with is not None:
            sealed_with.check_strength()
            scheme = serialization.BestAvailableEncryption(sealed_with.reveal())
        pem.write_once(path, self._pem(scheme))

    def opened_pem(self) -> bytes:
        """The key without encryption, for a file in memory and nowhere else: NVFlare asks nobody for a passphrase."""
        return self._pem(serialization.NoEncryption())

    def _pem(self, scheme: serialization.KeySerializationEncryption) -> bytes:
        return self._key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, scheme)

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        """The half that others may have."""
        return self._key.public_key()

    def request(self, identity: Identity) -> bytes:
        """A certificate signing request (RFC 2986) in PEM form, signed with this key, for all names of ``identity``.

        What is not known of ``identity`` yet, before there is a roster, is left out; the authority takes it from there.
        """
        builder = x509.CertificateSigningRequestBuilder().subject_name(profile.subject(identity))
        if names := profile.alternative_names(identity):
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
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


def read_public_key(path: Path, opened_with: Passphrase | None = None) -> rsa.RSAPublicKey:
    """The public half of the key at ``path``, about a hundred times faster than loading the key.

    The primes are not proven here, so this is for comparing only; whoever signs loads the key.

    Args:
        path: its file.
        opened_with: as in `PrivateKey.load`.

    Raises:
        ProvisioningError: as `PrivateKey.load` does.
    """
    return _read(path, opened_with, trusted=True).public_key()


def is_encrypted(path: Path) -> bool:
    """Whether the key at ``path`` is encrypted; no, where there is none that can be read."""
    try:
        return _ENCRYPTED in pem.read(path)[0]
    except ProvisioningError:
        return False


def _read(path: Path, opened_with: Passphrase | None, *, trusted: bool) -> rsa.RSAPrivateKey:
    content, mode = pem.read(path)
    if mode & _OTHERS:
        hint = f"chmod 600 {path}, and make a new key if somebody may have read this one"
        raise ProvisioningError(f"the key `{path}` can be read by others (mode {mode:04o})", hint=hint)
    secret = _opening(path, content, opened_with)
    try:
        key = serialization.load_pem_private_key(content, secret, unsafe_skip_rsa_key_validation=trusted)
    except TypeError as error:  # PEM's own encryption (RFC 1421), whose key derivation is one round of MD5
        hint = f"convert it: openssl pkcs8 -topk8 -in {path} -out {path}.new"
        raise ProvisioningError(f"the key `{path}` is encrypted in an old form that is not read", hint=hint) from error
    except Exception as error:
        if secret is not None:
            message = f"the key `{path}` does not open with the passphrase that is given"
            raise ProvisioningError(message, hint="it may be another key's passphrase") from None
        raise ProvisioningError(f"`{path}` does not hold a private key in PEM form") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ProvisioningError(f"the key `{path}` is not an RSA key", hint="NVFlare 2.9 signs with RSA only")
    if fault := weakness(key.public_key()):
        raise ProvisioningError(f"the key `{path}` {fault}")
    return key


def _opening(path: Path, content: bytes, opened_with: Passphrase | None) -> bytes | None:
    """What opens the key in ``content``; None where it needs nothing."""
    if _ENCRYPTED not in content:
        if opened_with is not None:
            hint = f"encrypt it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in {path} -out {path}.new"
            message = f"the key `{path}` is not encrypted, although a passphrase is given for it"
            raise ProvisioningError(message, hint=hint)
        return None
    opened_with = opened_with or passphrase.own()
    if opened_with is None:
        hint = f"put it into a file that only you may read, and name that in {passphrase.FILE}"
        raise ProvisioningError(f"the key `{path}` is encrypted, and its passphrase is not given", hint=hint)
    return opened_with.reveal()


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
