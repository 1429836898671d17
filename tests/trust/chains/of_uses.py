# SPDX-License-Identifier: Apache-2.0
"""Certificates for other uses, other hosts and with other extensions than the roster grants."""

from __future__ import annotations

import ipaddress

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from cloister.certificates import profile
from tests.trust.chains import draft as der
from tests.trust.chains.bad import (
    CLIENTS,
    DIFFERS,
    Bad,
    alternative,
    having,
    lacking,
    purposes,
    remarked,
    signed,
    usage,
)

_ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
_SERVER, _CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
_AUTHORITY = x509.BasicConstraints(ca=True, path_length=None)


def many(count: int) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.DNSName(f"host-{number}.evil.example") for number in range(count)])


USES = (
    Bad("for servers alone", purposes(_SERVER), rf"{DIFFERS}extendedKeyUsage`: it is for `serverAuth`(?!,)"),
    Bad(
        "for clients alone",
        purposes(_CLIENT),
        rf"{DIFFERS}extendedKeyUsage`: it is for `clientAuth`(?!,)",
        kinds=("server",),
    ),
    Bad(
        "for servers too",
        purposes(_SERVER, _CLIENT),
        rf"{DIFFERS}extendedKeyUsage`: it is for `serverAuth`, `clientAuth`(?!,)",
        kinds=CLIENTS,
    ),
    Bad(
        "for code", purposes(ExtendedKeyUsageOID.CODE_SIGNING), rf"{DIFFERS}extendedKeyUsage`: it is for `codeSigning`"
    ),
    Bad(
        "for mail too",
        purposes(_SERVER, _CLIENT, ExtendedKeyUsageOID.EMAIL_PROTECTION),
        rf"{DIFFERS}extendedKeyUsage`: it is for .*`emailProtection`",
    ),
    Bad("for everything", purposes(_ANY), rf"{DIFFERS}extendedKeyUsage`: it is for `anyExtendedKeyUsage`"),
    Bad(
        "for what nobody knows",
        purposes(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")),
        rf"{DIFFERS}extendedKeyUsage`: it is for `1.3.6.1.4.1.99999.1`",
    ),
    Bad("for no purpose", lacking(x509.ExtendedKeyUsage), rf"{DIFFERS}extendedKeyUsage`: it has no extendedKeyUsage"),
    Bad(
        "its purposes critical",
        remarked(x509.ExtendedKeyUsage, critical=True),
        rf"{DIFFERS}extendedKeyUsage`: its extendedKeyUsage is marked critical",
    ),
    Bad(
        "may sign certificates",
        having(usage("digital_signature", "key_cert_sign"), critical=True),
        rf"{DIFFERS}keyUsage`: it is for `digitalSignature`, `keyCertSign`",
    ),
    Bad(
        "may sign revocation lists",
        having(usage("digital_signature", "crl_sign"), critical=True),
        rf"{DIFFERS}keyUsage`: it is for `digitalSignature`, `cRLSign`",
    ),
    Bad(
        "may encipher keys",
        having(usage("key_encipherment"), critical=True),
        rf"{DIFFERS}keyUsage`: it is for `keyEncipherment`",
    ),
    Bad("no key usage", lacking(x509.KeyUsage), rf"{DIFFERS}keyUsage`: it has no keyUsage"),
    Bad(
        "its key usage not critical",
        remarked(x509.KeyUsage, critical=False),
        rf"{DIFFERS}keyUsage`: its keyUsage is marked not critical",
    ),
    Bad("an authority", having(_AUTHORITY, critical=True), rf"{DIFFERS}basicConstraints`: it is an authority's"),
    Bad(
        "an authority that may sign",
        signed(lambda w: w.draft.also(_AUTHORITY, usage("key_cert_sign"), critical=True)),
        rf"{DIFFERS}basicConstraints`, `keyUsage`: it is an authority's",
    ),
    Bad(
        "no basic constraints",
        lacking(x509.BasicConstraints),
        rf"{DIFFERS}basicConstraints`: it has no basicConstraints",
    ),
    Bad(
        "its basic constraints not critical",
        remarked(x509.BasicConstraints, critical=False),
        rf"{DIFFERS}basicConstraints`: its basicConstraints is marked not critical",
    ),
)

_FOR = rf"{DIFFERS}subjectAltName`: it is for "
ALTERNATIVES = (
    Bad(
        "no alternative name",
        lacking(x509.SubjectAlternativeName),
        rf"{DIFFERS}subjectAltName`: it has no subjectAltName",
    ),
    Bad("none of alternative names", alternative(), rf"{_FOR}nothing"),
    Bad("another site's name", alternative(x509.DNSName("hospital-south")), rf"{_FOR}`DNS:hospital-south`"),
    Bad("every name", alternative(x509.DNSName("*")), rf"{_FOR}`DNS:\*`"),
    Bad("every name of a domain", alternative(x509.DNSName("*.research.example")), rf"{_FOR}`DNS:\*.research.example`"),
    Bad("an address", alternative(x509.IPAddress(ipaddress.ip_address("127.0.0.1"))), rf"{_FOR}`IP:127.0.0.1`"),
    Bad(
        "the name as URI",
        signed(
            lambda w: w.draft.also(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"https://{w.who.name}/")])
            )
        ),
        rf"{_FOR}`URI:https://",
    ),
    Bad(
        "a mail address with a null",
        alternative(x509.RFC822Name._init_without_validation("ada@research.example\0@evil.example")),
        rf"{_FOR}`mail:ada@research.example\\x00@evil.example`",
    ),
    Bad(
        "a host with a null",
        alternative(x509.DNSName("localhost\0.evil.example")),
        rf"{_FOR}`DNS:localhost\\x00.evil.example`",
    ),
    Bad("the name in capitals", alternative(x509.DNSName("LOCALHOST")), rf"{_FOR}`DNS:LOCALHOST`"),
    Bad(
        "a directory's name",
        alternative(x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")]))),
        rf"{_FOR}`directory:",
    ),
    Bad(
        "a name of its own kind",
        alternative(x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), der.text("localhost"))),
        rf"{_FOR}`other:`",
    ),
    Bad(
        "one name too many",
        signed(
            lambda w: w.draft.also(
                x509.SubjectAlternativeName([*profile.alternative_names(w.who), x509.DNSName("evil.example")])
            )
        ),
        rf"{_FOR}.*(`DNS:evil.example`| and 1 more)",
    ),
    Bad("a thousand names", having(many(1000)), rf"{_FOR}`DNS:host-0.evil.example`, `[^`]+`, `[^`]+` and 997 more"),
)
