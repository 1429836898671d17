# SPDX-License-Identifier: Apache-2.0
"""Whose signature counts, and which certificates have been taken back."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import Anchors, PrivateKey, pem, profile, startup_folder
from cloister.certificates.anchors import read_roots, roots_pem
from cloister.errors import ProvisioningError
from cloister.provisioning import Authority
from cloister.roster import Federation
from tests.provisioning.world import SITE, identity


@pytest.fixture
def leaf(pristine: Path, roster: Federation) -> x509.Certificate:
    return pem.read_certificate(startup_folder(pristine, identity(roster, SITE)) / "client.crt")


@pytest.fixture
def root(pristine: Path) -> x509.Certificate:
    return Authority.open(pristine / "authority").certificate


@pytest.fixture
def successor(keys: tuple[PrivateKey, ...], now: datetime) -> x509.Certificate:
    """A root of the same name, as a next generation of the authority is."""
    return keys[1].certify(profile.root_builder("trial", keys[1].public_key, 30, now))


def test_one_of_two_roots_is_the_issuer(
    leaf: x509.Certificate, root: x509.Certificate, successor: x509.Certificate
) -> None:
    for roots in ((root, successor), (successor, root), (root,)):
        assert Anchors(roots).issuer_of(leaf) == root
    assert Anchors.of(successor).issuer_of(leaf) is None
    assert Anchors(()).issuer_of(leaf) is None


def test_a_root_with_a_weak_key_vouches_for_nobody(roster: Federation, now: datetime) -> None:
    weak = rsa.generate_private_key(65537, 2048)
    root = profile.root_builder("trial", weak.public_key(), 30, now).sign(weak, hashes.SHA256())
    site = identity(roster, SITE)
    leaf = profile.leaf_builder(site, weak.public_key(), root, timedelta(days=1), now).sign(weak, hashes.SHA256())
    assert profile.is_issued_by(leaf, root)
    assert Anchors.of(root).issuer_of(leaf) is None


def test_a_revoked_one_is_known_by_issuer_and_serial(
    leaf: x509.Certificate, root: x509.Certificate, successor: x509.Certificate
) -> None:
    serial = leaf.serial_number
    assert not Anchors((root,)).is_revoked(leaf)
    assert Anchors((root,), frozenset({(pem.fingerprint(root), serial)})).is_revoked(leaf)
    # The same serial number under the other authority, and another under this one, are other certificates.
    others = frozenset({(pem.fingerprint(successor), serial), (pem.fingerprint(root), serial + 1)})
    assert not Anchors((root, successor), others).is_revoked(leaf)


def test_a_strangers_certificate_counts_as_revoked(leaf: x509.Certificate, successor: x509.Certificate) -> None:
    assert Anchors.of(successor).is_revoked(leaf)


def test_a_file_holds_one_root_or_two(tmp_path: Path, root: x509.Certificate, successor: x509.Certificate) -> None:
    path = tmp_path / "rootCA.pem"
    for roots in ((root,), (successor, root)):
        path.write_bytes(roots_pem(roots))
        assert read_roots(path) == roots
    for content in (b"", b"nonsense", roots_pem((root, successor, root)), roots_pem((root,))[:-40]):
        path.write_bytes(content)
        with pytest.raises(ProvisioningError):
            read_roots(path)
    path.unlink()
    with pytest.raises(ProvisioningError, match="is missing"):
        read_roots(path)
