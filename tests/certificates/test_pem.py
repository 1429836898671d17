# SPDX-License-Identifier: Apache-2.0
"""What a file must be to hold certificates, and what is said of one that is something else."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import pem, profile
from cloister.errors import ProvisioningError
from tests.trust.chains.draft import Draft, extension
from tests.trust.chains.world import pem as as_pem


@pytest.fixture(scope="module")
def root(rsa_keys: tuple[rsa.RSAPrivateKey, ...], now: datetime) -> x509.Certificate:
    return profile.root_builder("trial", rsa_keys[0].public_key(), 30, now).sign(rsa_keys[0], hashes.SHA256())


def refused(content: bytes, words: str, most: int = 1) -> None:
    with pytest.raises(ProvisioningError) as caught:
        pem.parse_certificates(content, "it", most=most)
    assert caught.value.message == f"`it` {words}"


def test_one_or_as_many_as_are_allowed(root: x509.Certificate) -> None:
    content = pem.certificate_pem(root)
    assert pem.parse_certificate(content, "it") == root
    assert pem.parse_certificates(b"\n" + content + b"\r\n" + content, "it", most=2) == (root, root)
    refused(content * 2, "holds 2 certificates instead of one")
    refused(content * 3, "holds 3 certificates instead of at most 2", most=2)


def test_what_is_no_certificate_is_told(root: x509.Certificate) -> None:
    content = pem.certificate_pem(root)
    refused(b"", "does not hold a certificate in PEM form")
    refused(content[:-9], "holds a certificate that is cut off")
    refused(content + content[:-9], "holds a certificate that is cut off", most=2)
    refused(b"words\n" + content, "holds something besides a certificate in PEM form")
    refused(content + b"words\n" + content, "holds something besides a certificate in PEM form", most=2)
    key = content.replace(b"CERTIFICATE", b"RSA PRIVATE KEY")
    refused(content + key, "holds a private key, which belongs to nobody but its owner and in no other file")
    request = content.replace(b"CERTIFICATE", b"NEW CERTIFICATE REQUEST")
    refused(request, "holds a request for a certificate and not the certificate")


def test_its_size_has_an_end(root: x509.Certificate) -> None:
    content = pem.certificate_pem(root)
    room = pem.MAXIMUM_BYTES - len(content)
    assert pem.parse_certificate(content + b"\n" * room, "it") == root
    refused(content + b"\n" * (room + 1), "is larger than 64 KiB")


def test_it_is_parsed_to_its_end(root: x509.Certificate, rsa_keys: tuple[rsa.RSAPrivateKey, ...]) -> None:
    draft, key = Draft.of(root), rsa_keys[0]
    damaged = replace(draft.without(x509.KeyUsage), extensions=(extension("2.5.29.15", b"\x03\x99"),))
    twice = replace(draft, extensions=draft.extensions * 2)
    for each, words in (
        (damaged, "is damaged, cut off or goes on behind its end"),
        (twice, "has an extension twice"),
        (replace(draft, version=5), "is of a version that does not exist"),
        (replace(draft, subject=b"\x30\x01\x00"), "is damaged, cut off or goes on behind its end"),
    ):
        refused(as_pem(each.signed(key)), f"holds a certificate that {words}")
    der = draft.signed(key)
    refused(as_pem(der[:-1]), "holds a certificate that is damaged, cut off or goes on behind its end")
    refused(as_pem(der + b"\0"), "holds a certificate that is damaged, cut off or goes on behind its end")
    assert pem.damage(root) == ""
