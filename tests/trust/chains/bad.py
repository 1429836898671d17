# SPDX-License-Identifier: Apache-2.0
"""What is shown by somebody who is nobody, and how such certificates are made from a good one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import Identity
from tests.trust.chains import draft as der
from tests.trust.chains.draft import Draft
from tests.trust.chains.world import World, pem

OFF = r"names somebody who is not in the roster"
DIFFERS = r"differs from the roster's entry `[^`]+` in `"
SPELT = rf"{DIFFERS}subject`: its subject is spelt otherwise than the authority spells names"
DAMAGED = r"is damaged, cut off or goes on behind its end"
FORGED = r"names this federation's authority, whose key did not sign it: it is forged, or was changed since"
NAMESAKE = r"was signed by another authority of this federation's name"

CN, ORG, COUNTRY, ROLE, SERIAL = "2.5.4.3", "2.5.4.10", "2.5.4.6", "1.2.840.113549.1.9.2", "2.5.4.5"
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
EVERYBODY = ("server", "site", "person")
CLIENTS = ("site", "person")


@dataclass(frozen=True)
class Shown:
    """What somebody shows.

    Attributes:
        content: the certificate's file.
        key: the private key that belongs to it; None where there is none.
        along: certificates sent behind it in a handshake.
        world: where it is shown, if that is another one.
    """

    content: bytes
    key: Any
    along: bytes = b""
    world: World | None = None


Make = Callable[[World], Shown]


@dataclass(frozen=True)
class Bad:
    """A certificate that is nobody's.

    Attributes:
        name: what is wrong, in a few words.
        make: makes it.
        words: a pattern of the reason, wherever it is refused.
        at_kit: the same where it is offered to the participant that it is made out to, if that one says it otherwise;
            None where nobody can tell without the roster.
        kinds: whose certificate it is made from.
    """

    name: str
    make: Make
    words: str
    at_kit: str | None = ""
    kinds: tuple[str, ...] = EVERYBODY


def signed(change: Callable[[World], Draft]) -> Make:
    """A draft, signed with the authority's own key: whoever got at that, or at its owner."""
    return lambda world: Shown(pem(change(world).signed(world.root_key)), world.leaf_key)


def changed(**fields: Callable[[World], Any]) -> Make:
    """The good certificate with other fields."""
    return signed(lambda w: replace(w.draft, **{name: find(w) for name, find in fields.items()}))


def subject(*attributes: tuple[str, str] | tuple[str, str, int]) -> Make:
    """The good certificate with another subject."""
    return changed(subject=lambda _: der.name(*attributes))


def named(find: Callable[[Identity], str], tag: int = der.UTF8_STRING) -> Make:
    """The good certificate with another common name."""
    return changed(subject=lambda w: der.name((CN, find(w.who), tag), *after_name(w.who)))


def after_name(who: Identity) -> tuple[tuple[str, str], ...]:
    return ((ORG, who.organisation), *(((ROLE, who.role.value),) if who.role else ()))


def attributes(who: Identity) -> tuple[tuple[str, str], ...]:
    return ((CN, who.name), *after_name(who))


def having(*values: x509.ExtensionType, critical: bool = False) -> Make:
    """The good certificate with these extensions instead of its own of that type."""
    return signed(lambda w: w.draft.also(*values, critical=critical))


def lacking(*types: type[x509.ExtensionType]) -> Make:
    """The good certificate without these extensions."""
    return signed(lambda w: w.draft.without(*types))


def remarked(kind: type[x509.ExtensionType], *, critical: bool) -> Make:
    """The good certificate with an extension marked otherwise."""
    return signed(lambda w: w.draft.also(w.good.extensions.get_extension_for_class(kind).value, critical=critical))


def alternative(*names: x509.GeneralName) -> Make:
    """The good certificate for other names."""
    return having(x509.SubjectAlternativeName(names))


def usage(*allowed: str) -> x509.KeyUsage:
    """A key usage."""
    first = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    then = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{kind: kind in allowed for kind in (*first, *then)})


def purposes(*found: x509.ObjectIdentifier) -> Make:
    """The good certificate for other purposes."""
    return having(x509.ExtendedKeyUsage(found))


def by(key: Callable[[World], rsa.RSAPrivateKey], change: Callable[[World], Draft]) -> Make:
    """Signed by somebody else."""
    return lambda w: Shown(pem(change(w).signed(key(w))), w.leaf_key)


def after(begin: timedelta, end: timedelta) -> Make:
    """The good certificate, of another time."""
    return changed(begin=lambda w: der.moment(w.now + begin), end=lambda w: der.moment(w.now + end))
