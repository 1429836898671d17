# SPDX-License-Identifier: Apache-2.0
"""Certificates of another time, form or number, with extensions that the roster does not grant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from cryptography import x509

from tests.trust.chains import draft as der
from tests.trust.chains.bad import (
    CLIENTS,
    DAMAGED,
    DAY,
    DIFFERS,
    SECOND,
    Bad,
    Shown,
    after,
    changed,
    having,
    lacking,
    signed,
)
from tests.trust.chains.world import World, pem


def _date(value: datetime, tag: int | None = None) -> Callable[[World], bytes]:
    return lambda _: der.moment(value, tag)


def for_another_key(world: World) -> Shown:
    """The good certificate, were it for a key of somebody else's."""
    key = world.other_key.public_key()
    draft = replace(world.draft.also(x509.SubjectKeyIdentifier.from_public_key(key)), key=der.key_info(key))
    return Shown(pem(draft.signed(world.root_key)), world.other_key)


DATES = (
    Bad("expired yesterday", after(-3 * DAY, -DAY), r"expired on .* UTC, and it is "),
    Bad("expired a second ago", after(-SECOND * 200, -SECOND), r"expired on .* UTC, and it is "),
    Bad("begins tomorrow", after(DAY, 2 * DAY), r"is not valid before .* UTC, and it is "),
    Bad("begins in a second", after(SECOND, DAY), r"is not valid before .* UTC, and it is "),
    Bad("ends before it begins", after(DAY, -DAY), r"ends before it begins, on "),
    Bad(
        "begins in 9999",
        changed(begin=_date(datetime(9999, 1, 1, tzinfo=UTC)), end=_date(datetime(9999, 12, 31, tzinfo=UTC))),
        r"is not valid before 9999-01-01",
    ),
    Bad(
        "never ends",
        changed(end=_date(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))),
        "lasts longer than the authority that signed it",
    ),
    Bad("is older than its authority", after(-SECOND * 301, DAY), "lasts longer than the authority that signed it"),
    Bad(
        "its dates are in the wrong form",
        changed(end=lambda w: der.moment(w.now + DAY, der.GENERALIZED_TIME)),
        r"does not pass path validation \(RFC 5280, 6.1\): validity dates between 1950 and 2049 must be UtcTime",
    ),
)

EXTENSIONS = (
    Bad(
        "limits for names below",
        having(x509.NameConstraints([x509.DNSName("example")], None), critical=True),
        rf"{DIFFERS}nameConstraints`: it has the critical extension `nameConstraints`",
    ),
    Bad(
        "a critical extension that nobody knows",
        signed(
            lambda w: replace(
                w.draft,
                extensions=(*w.draft.extensions, der.extension("1.3.6.1.4.1.99999.7", b"\x05\0", critical=True)),
            )
        ),
        rf"{DIFFERS}1.3.6.1.4.1.99999.7`: it has the critical extension `1.3.6.1.4.1.99999.7`",
    ),
    Bad(
        "an extension that nobody knows",
        signed(
            lambda w: replace(
                w.draft, extensions=(*w.draft.extensions, der.extension("1.3.6.1.4.1.99999.7", b"\x05\0"))
            )
        ),
        rf"{DIFFERS}1.3.6.1.4.1.99999.7`: it has the extension `1.3.6.1.4.1.99999.7`",
    ),
    Bad(
        "an address to ask about revocation",
        having(
            x509.CRLDistributionPoints(
                [x509.DistributionPoint([x509.UniformResourceIdentifier("http://127.0.0.1/crl")], None, None, None)]
            )
        ),
        rf"{DIFFERS}cRLDistributionPoints`: it has the extension `cRLDistributionPoints`",
    ),
    Bad(
        "an extension twice",
        signed(lambda w: replace(w.draft, extensions=(*w.draft.extensions, w.draft.extensions[0]))),
        "has an extension twice",
    ),
    Bad(
        "two alternative names that contradict",
        signed(
            lambda w: replace(
                w.draft,
                extensions=(
                    *w.draft.extensions,
                    der.encoded(x509.SubjectAlternativeName([x509.DNSName("evil.example")])),
                ),
            )
        ),
        "has an extension twice",
    ),
    Bad(
        "an extension that is damaged",
        signed(
            lambda w: replace(
                w.draft.without(x509.BasicConstraints),
                extensions=(
                    *w.draft.without(x509.BasicConstraints).extensions,
                    der.extension("2.5.29.19", b"\x30\x99"),
                ),
            )
        ),
        DAMAGED,
    ),
    Bad(
        "no identifier of its key",
        lacking(x509.SubjectKeyIdentifier),
        "has a subjectKeyIdentifier that is not that of its key",
    ),
    Bad(
        "another key's identifier",
        having(x509.SubjectKeyIdentifier(b"x" * 20)),
        "has a subjectKeyIdentifier that is not that of its key",
    ),
    Bad(
        "no identifier of the authority's key",
        lacking(x509.AuthorityKeyIdentifier),
        "has a authorityKeyIdentifier that is not that of the authority's key",
    ),
    Bad(
        "another identifier of the authority's key",
        having(x509.AuthorityKeyIdentifier(b"x" * 20, None, None)),
        "has a authorityKeyIdentifier that is not that of the authority's key",
    ),
    Bad(
        "of the first version",
        changed(version=lambda _: 0, extensions=lambda _: ()),
        rf"{DIFFERS}version`.*: it is of an old version of X.509",
    ),
    Bad(
        "of the first version, with extensions",
        changed(version=lambda _: 0),
        rf"{DIFFERS}version`: it is of an old version of X.509",
    ),
    Bad(
        "of the second version",
        changed(version=lambda _: 1),
        "is of a version that does not exist|of an old version",
    ),
    Bad("of the tenth version", changed(version=lambda _: 9), "is of a version that does not exist"),
    Bad("number zero", changed(serial=lambda _: 0), "has a serial number that is zero"),
    Bad("a negative number", changed(serial=lambda _: -(1 << 70)), "has a serial number that is negative"),
    Bad("a number of 21 octets", changed(serial=lambda _: 1 << 160), "has a serial number of more than 20 octets"),
    Bad("a huge number", changed(serial=lambda _: 1 << 8000), "has a serial number of more than 20 octets"),
    Bad(
        "signed and not recorded",
        changed(serial=lambda _: 0xBADC0FFEE),
        "has the serial number badc0ffee, which was not issued for that entry",
        None,
    ),
    Bad(
        "signed and not recorded, of another time",
        after(-SECOND, 9 * DAY),
        "has the serial number [0-9a-f]+, which was not issued for that entry",
        None,
        kinds=CLIENTS,  # a server may have renewed since the roster
    ),
    Bad(
        "for another key and not recorded",
        for_another_key,
        "which was not issued for that entry",
        "does not belong to the key beside it",
    ),
    Bad(
        "signed with SHA-384 and not recorded",
        changed(algorithm=lambda _: der.SHA384),
        "which was not issued for that entry",
        None,
    ),
)
