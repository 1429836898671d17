# SPDX-License-Identifier: Apache-2.0
"""Certificates with keys and signatures that do not count, and those that were taken back."""

from __future__ import annotations

import functools
import secrets
from dataclasses import replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa

from cloister.certificates import profile
from tests.trust.chains import draft as der
from tests.trust.chains.bad import (
    CN,
    DAY,
    FORGED,
    NAMESAKE,
    ORG,
    SECOND,
    Bad,
    Make,
    Shown,
    by,
    changed,
    usage,
)
from tests.trust.chains.draft import Draft
from tests.trust.chains.world import World, pem, rechained


@functools.cache
def weak(kind: str) -> Any:
    """A private key that may not be used."""
    match kind:
        case "RSA-1024":
            return rsa.generate_private_key(65537, 1024)
        case "RSA-2048":
            return rsa.generate_private_key(65537, 2048)
        case "e=3":
            return rsa.generate_private_key(3, 3072)
        case "P-256":
            return ec.generate_private_key(ec.SECP256R1())
        case "P-521":
            return ec.generate_private_key(ec.SECP521R1())
        case "DSA":
            return dsa.generate_private_key(2048)
    return ed25519.Ed25519PrivateKey.generate()


def keyed(kind: str) -> Make:
    """The good certificate, were it for a weak key."""

    def make(world: World) -> Shown:
        key = weak(kind)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        draft = replace(world.draft.also(identifier), key=der.key_info(key.public_key()))
        return Shown(pem(draft.signed(world.root_key)), key)

    return make


def giant_key(world: World) -> Shown:
    """For a key that takes a verifier long: its modulus is no product of primes, which nobody looks at."""
    modulus = secrets.randbits(16384) | 1 << 16383 | 1
    draft = replace(world.draft, key=der.key_info(rsa.RSAPublicNumbers(65537, modulus).public_key()))
    return Shown(pem(draft.signed(world.root_key)), None)


def _authority_key(key: rsa.RSAPrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _self_signed(w: World) -> Draft:
    return replace(w.draft.also(_authority_key(w.leaf_key)), issuer=w.draft.subject)


def _own_authority(w: World) -> Draft:
    name = der.name((CN, "trial"), (ORG, "certificate authority"))
    return replace(w.draft.also(_authority_key(w.leaf_key)), issuer=name, subject=name)


def by_a_leaf(world: World) -> Shown:
    """Issued by somebody whom the authority certified to be themselves."""
    draft = replace(world.draft.also(_authority_key(world.other_key)), issuer=world.site_subject)
    return Shown(pem(draft.signed(world.other_key)), world.leaf_key, along=world.pem_of_site)


def by_a_lower_authority(world: World) -> Shown:
    """Issued by an authority below the federation's, which may have none below it."""
    name = der.name((CN, "lower-authority"), (ORG, "institute"))
    identifier = x509.SubjectKeyIdentifier.from_public_key(world.other_key.public_key())
    lower = world.draft.without(x509.ExtendedKeyUsage, x509.SubjectAlternativeName).also(identifier)
    lower = lower.also(x509.BasicConstraints(ca=True, path_length=0), usage("key_cert_sign"), critical=True)
    lower = replace(lower, subject=name, key=der.key_info(world.other_key.public_key()), serial=4711)
    draft = replace(world.draft.also(_authority_key(world.other_key)), issuer=name)
    along = pem(lower.signed(world.root_key))
    return Shown(pem(draft.signed(world.other_key)), world.leaf_key, along=along)


def flipped(world: World) -> Shown:
    """A bit of the signature is another."""
    content = bytearray(world.der)
    content[-100] ^= 1
    return Shown(pem(bytes(content)), world.leaf_key)


def changed_after_signing(world: World) -> Shown:
    """A date is another than the one that was signed."""
    later = replace(world.draft, end=der.moment(world.good.not_valid_after_utc + DAY))
    statement, *_ = der.split(der.inside(later.signed(world.root_key)))
    _, *rest = der.split(der.inside(world.der))
    return Shown(pem(der.element(der.SEQUENCE, statement, *rest)), world.leaf_key)


def two_algorithms(world: World) -> Shown:
    """The signature's algorithm is another inside than outside (RFC 5280, 4.1.1.2)."""
    outside = der.element(der.SEQUENCE, der.oid(der.SHA512), der.element(der.NULL))
    statement, _, signature = der.split(der.inside(world.der))
    return Shown(pem(der.element(der.SEQUENCE, statement, outside, signature)), world.leaf_key)


def with_pss(world: World) -> Shown:
    """Signed with RSASSA-PSS, which is strong, and which our authority does not use."""
    builder = profile.leaf_builder(world.who, world.leaf_key.public_key(), world.root, 10 * DAY, world.now)
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
    found = builder.sign(world.root_key, hashes.SHA256(), rsa_padding=scheme)
    return Shown(found.public_bytes(serialization.Encoding.PEM), world.leaf_key)


_LEAST = "and RSA with SHA-256 is the least"

KEYS = (
    Bad("a key of 1024 bits", keyed("RSA-1024"), "carries a key that is RSA-1024, and 3072 bits are the least"),
    Bad("a key of 2048 bits", keyed("RSA-2048"), "carries a key that is RSA-2048, and 3072 bits are the least"),
    Bad("a key of 16384 bits", giant_key, "carries a key that is RSA-16384, and 8192 bits are the most"),
    Bad("a small exponent", keyed("e=3"), "carries a key that has a public exponent below 65537"),
    Bad("an elliptic key", keyed("P-256"), "carries a key that is not an RSA key"),
    Bad("a long elliptic key", keyed("P-521"), "carries a key that is not an RSA key"),
    Bad("an Edwards key", keyed("Ed25519"), "carries a key that is not an RSA key"),
    Bad("a DSA key", keyed("DSA"), "carries a key that is not an RSA key"),
    Bad("SHA-1", changed(algorithm=lambda _: der.SHA1), f"is signed with SHA-1, {_LEAST}"),
    Bad("MD5", changed(algorithm=lambda _: der.MD5), f"is signed with MD5, {_LEAST}"),
    Bad("SHA-224", changed(algorithm=lambda _: der.SHA224), f"is signed with SHA-224, {_LEAST}"),
    Bad("RSASSA-PSS", with_pss, f"is signed with RSASSA-PSS, {_LEAST}"),
)

SIGNERS = (
    Bad("a bit of the signature", flipped, FORGED),
    Bad("changed after it was signed", changed_after_signing, FORGED),
    Bad("two algorithms", two_algorithms, FORGED),
    Bad("signed by itself", by(lambda w: w.leaf_key, _self_signed), "was signed by itself"),
    Bad("signed by itself as the authority", by(lambda w: w.leaf_key, _own_authority), "was signed by itself"),
    Bad(
        "an authority of the same name",
        by(lambda w: w.other_key, lambda w: w.draft.also(_authority_key(w.other_key))),
        NAMESAKE,
    ),
    Bad("an authority of the same name and key identifier", by(lambda w: w.other_key, lambda w: w.draft), FORGED),
    Bad("signed with its own key in the authority's name", by(lambda w: w.leaf_key, lambda w: w.draft), FORGED),
    Bad(
        "an authority of another name",
        by(
            lambda w: w.other_key,
            lambda w: replace(
                w.draft.also(_authority_key(w.other_key)),
                issuer=der.name((CN, "other-trial"), (ORG, "certificate authority")),
            ),
        ),
        "was signed by another authority than this federation's: `other-trial`",
    ),
    Bad(
        "the authority's key under another name",
        changed(issuer=lambda _: der.name((CN, "other-trial"))),
        "was signed by another authority than this federation's: `other-trial`",
    ),
    Bad(
        "an authority without a name",
        by(lambda w: w.other_key, lambda w: replace(w.draft, issuer=der.name())),
        "was signed by another authority than this federation's",
    ),
    Bad(
        "an authority with a null in its name",
        by(
            lambda w: w.other_key,
            lambda w: replace(w.draft, issuer=der.name((CN, "trial\0"), (ORG, "certificate authority"))),
        ),
        r"was signed by another authority than this federation's: `trial\\x00`",
    ),
    Bad("issued by a site", by_a_leaf, "was signed by another authority than this federation's: `hospital-north`"),
    Bad(
        "issued by an authority below ours",
        by_a_lower_authority,
        "was signed by another authority than this federation's: `lower-authority`",
    ),
)

REVOKED = (
    Bad(
        "revoked",
        lambda w: Shown(w.revoked_pem, w.leaf_key),
        r"was revoked( on .* UTC: the laptop was stolen)?",
        "was revoked",
    ),
    Bad(
        "revoked once superseded",
        lambda w: Shown(w.superseded_pem, w.leaf_key),
        r"was revoked( on .* UTC: another key)?",
        "was revoked",
    ),
    Bad("of an authority that has been dropped", lambda w: Shown(w.pem, w.leaf_key, world=rechained(w)), NAMESAKE),
    Bad(
        "of an authority that has expired",
        lambda w: Shown(w.pem, w.leaf_key, world=replace(w, now=w.root.not_valid_after_utc + SECOND)),
        "expired on",
    ),
)
