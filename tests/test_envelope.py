# SPDX-License-Identifier: Apache-2.0
import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from cloister.envelope import MAXIMUM_BYTES, seal, sign_with, unseal
from cloister.errors import SignatureError
from cloister.files import canonical_json

KIND = "application/vnd.cloister.test+json"
KEY = rsa.generate_private_key(65537, 2048)
OTHER_KEY = rsa.generate_private_key(65537, 2048)


class InMemory:
    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self.key = key

    def sign(self, message: bytes) -> bytes:
        return sign_with(self.key, message)


def certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


CERTIFICATE = certificate(KEY)
OTHER_CERTIFICATE = certificate(OTHER_KEY)
PAYLOAD = canonical_json({"a": 1, "b": ["ü"]})
SEALED = seal(KIND, PAYLOAD, InMemory(KEY), CERTIFICATE)


def changed(**parts):
    value = json.loads(SEALED)
    for key, new in parts.items():
        if key in value:
            value[key] = new
        else:
            value["signatures"][0][key] = new
    return canonical_json(value)


def test_what_was_sealed_is_read_again():
    opened = unseal(KIND, SEALED)
    assert (opened.payload, opened.certificate) == (PAYLOAD, CERTIFICATE)
    assert opened.value() == {"a": 1, "b": ["ü"]}


def test_every_changed_byte_is_noticed():
    for index in range(len(SEALED)):
        damaged = bytearray(SEALED)
        damaged[index] ^= 1
        with pytest.raises(SignatureError):
            unseal(KIND, bytes(damaged)).value()


def test_another_payload_is_refused():
    with pytest.raises(SignatureError, match="has been changed"):
        unseal(KIND, changed(payload=base64.b64encode(b'{"a":2}').decode()))


def test_a_statement_of_another_kind_is_refused_and_cannot_be_relabelled():
    with pytest.raises(SignatureError, match="another kind"):
        unseal("application/vnd.cloister.other+json", SEALED)
    with pytest.raises(SignatureError, match="has been changed"):
        unseal("application/vnd.cloister.other+json", changed(payloadType="application/vnd.cloister.other+json"))


def test_another_certificate_is_refused():
    pem = seal(KIND, PAYLOAD, InMemory(KEY), OTHER_CERTIFICATE)
    with pytest.raises(SignatureError, match="has been changed"):
        unseal(KIND, pem)
    with pytest.raises(SignatureError, match="names another certificate"):
        unseal(KIND, changed(keyid="0" * 64))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"payload":1,"payloadType":2,"signatures":[]}',
        b"[" * 100_000,
        SEALED + b"x",
        changed(cert="not a certificate"),
        changed(cert=7),
        changed(sig="*"),
        changed(payload="*"),
        canonical_json({**json.loads(SEALED), "more": 1}),
        canonical_json({**json.loads(SEALED), "signatures": json.loads(SEALED)["signatures"] * 2}),
        canonical_json({**json.loads(SEALED), "signatures": []}),
        b" " * (MAXIMUM_BYTES + 1),
    ],
)
def test_what_is_no_envelope_is_refused(content):
    with pytest.raises(SignatureError):
        unseal(KIND, content)


@pytest.mark.parametrize("payload", [b"{", b"[1]", b'{"a":1,"a":2}', b'{ "a": 1 }', b'{"b":1,"a":1}', b'{"a":NaN}'])
def test_a_payload_that_has_a_second_spelling_is_no_object(payload):
    with pytest.raises(SignatureError):
        unseal(KIND, seal(KIND, payload, InMemory(KEY), CERTIFICATE)).value()
