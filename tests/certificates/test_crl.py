# SPDX-License-Identifier: Apache-2.0
"""Revocation lists: what OpenSSL thinks of ours, and what of others' we refuse."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import PrivateKey, pem, profile
from cloister.certificates.crl import MAXIMUM_BYTES, RevokedCertificate, make_crl, revoked_serials
from cloister.errors import ProvisioningError

BEGIN = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
DATES = (BEGIN, BEGIN + timedelta(days=90))
LOST = RevokedCertificate(0x1234, BEGIN - timedelta(hours=3))
REPLACED = RevokedCertificate(0x9999, BEGIN - timedelta(hours=1), superseded=True)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no `openssl` here")


@pytest.fixture
def root(keys: tuple[PrivateKey, ...]) -> x509.Certificate:
    return keys[0].certify(profile.root_builder("trial", keys[0].public_key, 3650, BEGIN))


@pytest.fixture
def crl(root: x509.Certificate, keys: tuple[PrivateKey, ...]) -> bytes:
    return make_crl(root, keys[0], 7, [REPLACED, LOST], DATES)


def test_what_was_put_in_is_read(root: x509.Certificate, keys: tuple[PrivateKey, ...], crl: bytes) -> None:
    assert revoked_serials(crl, root) == {0x1234, 0x9999}
    assert revoked_serials(make_crl(root, keys[0], 1, [], DATES), root) == frozenset()


def test_it_says_what_the_standard_asks(root: x509.Certificate, crl: bytes) -> None:
    found = x509.load_pem_x509_crl(crl)
    assert found.issuer == root.subject
    assert (found.last_update_utc, found.next_update_utc) == DATES
    assert found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    identifier = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert not any(each.critical for each in found.extensions)
    lost, replaced = found
    assert (lost.serial_number, lost.revocation_date_utc, list(lost.extensions)) == (0x1234, LOST.revoked_at, [])
    assert replaced.extensions.get_extension_for_class(x509.CRLReason).value.reason == x509.ReasonFlags.superseded


@needs_openssl
def test_openssl_agrees(tmp_path: Path, root: x509.Certificate, keys: tuple[PrivateKey, ...], crl: bytes) -> None:
    def verified(authority: x509.Certificate) -> subprocess.CompletedProcess[str]:
        (tmp_path / "crl.pem").write_bytes(crl)
        (tmp_path / "root.pem").write_bytes(pem.certificate_pem(authority))
        command = ["openssl", "crl", "-verify", "-noout", "-text", "-in", "crl.pem", "-CAfile", "root.pem"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    said = verified(root)
    assert "verify OK" in said.stderr
    assert all(word in said.stdout for word in ("Version 2", "1234", "9999", "Superseded", "sha256WithRSAEncryption"))
    other = keys[1].certify(profile.root_builder("trial", keys[1].public_key, 3650, BEGIN))
    assert "verify failure" in verified(other).stderr


@needs_openssl
def test_openssl_refuses_whom_it_lists(tmp_path: Path, root: x509.Certificate, keys: tuple[PrivateKey, ...]) -> None:
    now = datetime.now(UTC)
    leaf = keys[1].public_key
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(root.subject).public_key(leaf)
    builder = builder.serial_number(0x77).not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(profile.issuer_identifier(root), critical=False)
    (tmp_path / "leaf.pem").write_bytes(pem.certificate_pem(keys[0].certify(builder)))
    (tmp_path / "root.pem").write_bytes(pem.certificate_pem(root))
    dates = (now - timedelta(hours=1), now + timedelta(days=1))
    command = ["openssl", "verify", "-crl_check", "-CAfile", "root.pem", "-CRLfile", "crl.pem", "leaf.pem"]
    for listed, status in (([], 0), ([RevokedCertificate(0x77, now)], 2)):
        (tmp_path / "crl.pem").write_bytes(make_crl(root, keys[0], 1, listed, dates))
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert ("certificate revoked" in done.stderr) is bool(listed)


def plain(root: x509.Certificate) -> x509.CertificateRevocationListBuilder:
    builder = x509.CertificateRevocationListBuilder().issuer_name(root.subject)
    return builder.last_update(DATES[0]).next_update(DATES[1])


def written(
    builder: x509.CertificateRevocationListBuilder, key: rsa.RSAPrivateKey, digest: hashes.HashAlgorithm
) -> bytes:
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM)


def test_what_would_change_its_meaning_is_refused(
    root: x509.Certificate, rsa_keys: tuple[rsa.RSAPrivateKey, ...]
) -> None:
    key, sha256 = rsa_keys[0], hashes.SHA256()
    assert revoked_serials(written(plain(root), key, sha256), root) == frozenset()
    scope = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)
    delta = x509.DeltaCRLIndicator(3)
    entry = x509.RevokedCertificateBuilder().serial_number(5).revocation_date(BEGIN)
    entry = entry.add_extension(x509.CertificateIssuer([x509.DirectoryName(root.subject)]), critical=True)
    for builder in (
        plain(root).add_extension(scope, critical=True),
        plain(root).add_extension(delta, critical=True),
        plain(root).add_revoked_certificate(entry.build()),
    ):
        with pytest.raises(ProvisioningError, match="has a critical extension"):
            revoked_serials(written(builder, key, sha256), root)


def test_another_authoritys_is_refused(root: x509.Certificate, rsa_keys: tuple[rsa.RSAPrivateKey, ...]) -> None:
    sha256 = hashes.SHA256()
    foreign = x509.CertificateRevocationListBuilder().issuer_name(profile.authority_subject("elsewhere"))
    foreign = foreign.last_update(DATES[0]).next_update(DATES[1])
    for content in (
        written(plain(root), rsa_keys[1], sha256),  # another key under the same name
        written(foreign, rsa_keys[0], sha256),  # the same key under another name
        written(plain(root), rsa_keys[0], hashes.SHA224()),
    ):
        with pytest.raises(ProvisioningError, match="is not signed by the authority"):
            revoked_serials(content, root)


def test_an_authority_with_a_weak_key_revokes_nothing(now: datetime) -> None:
    weak = rsa.generate_private_key(65537, 2048)
    root = profile.root_builder("trial", weak.public_key(), 30, now).sign(weak, hashes.SHA256())
    with pytest.raises(ProvisioningError, match="is not signed by the authority"):
        revoked_serials(written(plain(root), weak, hashes.SHA256()), root)


def test_half_a_list_is_none(root: x509.Certificate, crl: bytes) -> None:
    for content in (b"", b"nonsense", crl[: len(crl) // 2], crl[:-40], pem.certificate_pem(root)):
        with pytest.raises(ProvisioningError, match="cannot be read"):
            revoked_serials(content, root)
    with pytest.raises(ProvisioningError, match="is too large"):
        revoked_serials(b" " * (MAXIMUM_BYTES + 1), root)


def test_a_changed_byte_is_noticed(root: x509.Certificate, crl: bytes) -> None:
    der = x509.load_pem_x509_crl(crl).public_bytes(serialization.Encoding.DER)
    for place in range(0, len(der), 7):
        changed = bytearray(der)
        changed[place] ^= 1
        try:
            content = x509.load_der_x509_crl(bytes(changed)).public_bytes(serialization.Encoding.PEM)
        except ValueError:
            continue
        with pytest.raises(ProvisioningError):
            revoked_serials(content, root)
