# SPDX-License-Identifier: Apache-2.0
"""Files that hold something else than one certificate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from cloister.certificates import profile
from tests.trust.chains import draft as der
from tests.trust.chains.bad import (
    DAMAGED,
    DIFFERS,
    Bad,
    Make,
    Shown,
    having,
    signed,
)
from tests.trust.chains.of_uses import many
from tests.trust.chains.world import World, pem


def _text(change: Callable[[World], bytes]) -> Make:
    return lambda w: Shown(change(w), w.leaf_key)


def _followed_by(content: bytes) -> Make:
    return _text(lambda w: w.pem + content)


def request(world: World) -> bytes:
    """A request in a certificate's place."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(profile.subject(world.who))
    return builder.sign(world.leaf_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def private_key(world: World) -> bytes:
    """A private key."""
    form = serialization.PrivateFormat.PKCS8
    return world.leaf_key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


FILES = (
    Bad("cut off", _text(lambda w: w.pem[:700]), "holds a certificate that is cut off"),
    Bad("cut off in its last line", _text(lambda w: w.pem[:-4]), "holds a certificate that is cut off"),
    Bad("cut off inside", _text(lambda w: pem(w.der[:-40])), DAMAGED),
    Bad("something behind it, inside", _text(lambda w: pem(w.der + b"\0\0")), DAMAGED),
    Bad("nothing inside", _text(lambda _: pem(b"")), DAMAGED),
    Bad("something else inside", _text(lambda _: pem(b"\x30\x03\x02\x01\x00")), DAMAGED),
    Bad("a length without end", _text(lambda w: pem(b"\x30\x80" + der.inside(w.der) + b"\0\0")), DAMAGED),
    Bad("words behind it", _followed_by(b"and some words\n"), "holds something besides a certificate in PEM form"),
    Bad(
        "words before it",
        _text(lambda w: b"Subject: somebody\n" + w.pem),
        "holds something besides a certificate in PEM form",
    ),
    Bad("two certificates", _text(lambda w: w.pem + w.pem_of_site), "holds 2 certificates instead of one"),
    Bad("the same certificate twice", _text(lambda w: w.pem + w.pem), "holds 2 certificates instead of one"),
    Bad(
        "the authority behind it",
        _text(lambda w: w.pem + w.root.public_bytes(serialization.Encoding.PEM)),
        "holds 2 certificates instead of one",
    ),
    Bad(
        "its private key behind it",
        _text(lambda w: w.pem + private_key(w)),
        "holds a private key, which belongs to nobody but its owner",
    ),
    Bad("its private key alone", _text(private_key), "holds a private key, which belongs to nobody but its owner"),
    Bad("a request", _text(request), "holds a request for a certificate and not the certificate"),
    Bad("DER", _text(lambda w: w.der), "does not hold a certificate in PEM form"),
    Bad(
        "a trusted certificate of OpenSSL's",
        _text(lambda w: w.pem.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE")),
        "does not hold a certificate in PEM form",
    ),
    Bad("nothing", _text(lambda _: b""), "does not hold a certificate in PEM form"),
    Bad("no text", _text(lambda _: b"\0" * 5000), "does not hold a certificate in PEM form"),
    Bad("ten thousand names", having(many(10_000)), rf"is larger than 64 KiB|{DIFFERS}"),
    Bad(
        "a million octets",
        signed(
            lambda w: replace(
                w.draft,
                extensions=(
                    *w.draft.extensions,
                    der.extension("1.3.6.1.4.1.99999.7", b"\x04\x83\x0f\x42\x40" + b"x" * 1_000_000),
                ),
            )
        ),
        rf"is larger than 64 KiB|{DIFFERS}",
    ),
)
