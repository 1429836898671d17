# SPDX-License-Identifier: Apache-2.0
"""Certificates with names that are not the roster's."""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives import serialization

from tests.trust.chains import draft as der
from tests.trust.chains.bad import (
    CN,
    COUNTRY,
    DAMAGED,
    DIFFERS,
    OFF,
    ORG,
    ROLE,
    SERIAL,
    SPELT,
    Bad,
    Shown,
    after_name,
    attributes,
    changed,
    named,
    subject,
)
from tests.trust.chains.world import PERSON, SERVER, World, pem


def the_authority(world: World) -> Shown:
    """The authority's own certificate."""
    return Shown(world.root.public_bytes(serialization.Encoding.PEM), world.root_key)


def of_another_kind(world: World) -> Shown:
    """Somebody's certificate, but for the name of an entry of another kind."""
    other = world.entry(SERVER if world.who.kind == "person" else PERSON)
    draft = replace(world.draft, subject=der.name((CN, other.name), *after_name(world.who)))
    return Shown(pem(draft.signed(world.root_key)), world.leaf_key)


NAMES = (
    Bad(
        "a name off the roster",
        named(lambda _: "hospital-south"),
        rf"`hospital-south` {OFF}",
        rf"{DIFFERS}subject`: it is of `hospital-south`",
    ),
    Bad(
        "another organisation",
        changed(subject=lambda w: der.name((CN, w.who.name), (ORG, "southfield"), *after_name(w.who)[1:])),
        rf"{DIFFERS}subject`: it is for the organisation `southfield`",
    ),
    Bad(
        "no organisation",
        changed(subject=lambda w: der.name((CN, w.who.name), *after_name(w.who)[1:])),
        rf"{DIFFERS}subject`: it names no organisation",
    ),
    Bad(
        "two organisations",
        changed(subject=lambda w: der.name(*attributes(w.who), (ORG, "southfield"))),
        rf"{DIFFERS}subject`: it is for the organisation `[a-z]+`, `southfield`",
    ),
    Bad(
        "another role",
        changed(subject=lambda w: der.name(*attributes(w.who)[:2], (ROLE, "it-admin"))),
        rf"{DIFFERS}subject`: it grants the role `it-admin`",
    ),
    Bad(
        "two roles",
        changed(subject=lambda w: der.name(*attributes(w.who), (ROLE, "it-admin"))),
        rf"{DIFFERS}subject`: it grants the role `.*it-admin`",
    ),
    Bad(
        "no role",
        changed(subject=lambda w: der.name(*attributes(w.who)[:2])),
        rf"{DIFFERS}subject`: it names no role",
        kinds=("person",),
    ),
    Bad(
        "a null in the name",
        named(lambda who: f"{who.name}\0.evil.example"),
        rf"\\x00.evil.example` {OFF}",
        rf"{DIFFERS}subject`: it is of `.*\\x00.*`",
    ),
    Bad(
        "a null behind the name",
        named(lambda who: f"{who.name}\0"),
        rf"\\x00` {OFF}",
        rf"{DIFFERS}subject`: it is of `.*\\x00`",
    ),
    Bad(
        "a terminal's control characters",
        named(lambda _: "\x1b[2J\x1b[31mowned\r\n"),
        rf"`\\x1b\[2J.*\\r\\n` {OFF}",
        rf"{DIFFERS}subject`: it is of `\\x1b\[2J",
    ),
    Bad(
        "text that runs backwards",
        named(lambda who: f"\u202e{who.name}"),
        rf"`\\u202e.*` {OFF}",
        rf"{DIFFERS}subject`: it is of `\\u202e",
    ),
    Bad(
        "a Cyrillic letter",
        named(lambda who: who.name.replace("a", "\u0430", 1)),
        rf"\\u0430.*` {OFF}",
        rf"{DIFFERS}subject`: it is of `.*\\u0430",
        kinds=("site", "person"),
    ),
    Bad(
        "letters of full width",
        named(lambda who: who.name.replace("o", "\uff4f", 1).replace("d", "\uff44", 1)),
        rf"\\uff4?4?.*` {OFF}",
        rf"{DIFFERS}subject`: it is of `.*\\uff4",
    ),
    Bad(
        "a space behind the name",
        named(lambda who: f"{who.name} "),
        rf" ` {OFF}",
        rf"{DIFFERS}subject`: it is of `.* `",
    ),
    Bad(
        "capitals",
        named(lambda who: who.name.upper()),
        rf"`[A-Z@.-]+` {OFF}",
        rf"{DIFFERS}subject`: it is of `[A-Z@.-]+`",
    ),
    Bad(
        "words behind the name",
        named(lambda who: f"{who.name}` is trusted"),
        rf"' is trusted` {OFF}",
        rf"{DIFFERS}subject`: it is of `.*' is trusted`",
    ),
    Bad(
        "a name of five thousand letters",
        named(lambda _: "x" * 5000),
        rf"`x{{79}}…` {OFF}",
        rf"{DIFFERS}subject`: it is of `x{{47}}…`",
    ),
    Bad("an empty name", named(lambda _: ""), rf"`` {OFF}", rf"{DIFFERS}subject`: it is of ``"),
    Bad(
        "two common names",
        changed(subject=lambda w: der.name((CN, "mallory"), *attributes(w.who))),
        rf"somebody with 2 common names {OFF}",
        rf"{DIFFERS}subject`: it is of `mallory`, `",
    ),
    Bad(
        "the same name twice",
        changed(subject=lambda w: der.name((CN, w.who.name), *attributes(w.who))),
        rf"somebody with 2 common names {OFF}",
        rf"{DIFFERS}subject`: it is of ",
    ),
    Bad(
        "no common name",
        changed(subject=lambda w: der.name(*after_name(w.who))),
        rf"somebody with no common names {OFF}",
        rf"{DIFFERS}subject`: it names nobody",
    ),
    Bad("an empty subject", subject(), rf"somebody with no common names {OFF}", rf"{DIFFERS}subject`: it names nobody"),
    Bad(
        "a country as well",
        changed(subject=lambda w: der.name((COUNTRY, "XX", der.PRINTABLE_STRING), *attributes(w.who))),
        rf"{DIFFERS}subject`: its subject also has `C=XX`",
    ),
    Bad(
        "a serial number in the subject",
        changed(subject=lambda w: der.name(*attributes(w.who), (SERIAL, "1"))),
        rf"{DIFFERS}subject`: its subject also has `",
    ),
    Bad("BMPString", named(lambda who: who.name, der.BMP_STRING), SPELT),
    Bad("TeletexString", named(lambda who: who.name, der.TELETEX_STRING), SPELT),
    Bad("PrintableString", named(lambda who: who.name, der.PRINTABLE_STRING), SPELT, kinds=("server", "site")),
    Bad("another order", changed(subject=lambda w: der.name(*reversed(attributes(w.who)))), SPELT),
    Bad(
        "all in one part",
        changed(
            subject=lambda w: der.element(
                der.SEQUENCE,
                der.element(der.SET, *sorted(der.inside(each) for each in der.split(der.inside(w.draft.subject)))),
            )
        ),
        SPELT,
    ),
    Bad(
        "a name that is no UTF-8",
        changed(
            subject=lambda _: der.element(
                der.SEQUENCE,
                der.element(der.SET, der.element(der.SEQUENCE, der.oid(CN), der.element(der.UTF8_STRING, b"\xff\xfe"))),
            )
        ),
        DAMAGED,
    ),
    Bad(
        "the name of an entry of another kind",
        of_another_kind,
        rf"{DIFFERS}subject`",
        rf"{DIFFERS}subject`: it is of ",
    ),
    Bad(
        "the authority's name",
        changed(subject=lambda w: w.draft.issuer),
        rf"`trial` {OFF}",
        rf"{DIFFERS}subject`: it is of `trial`",
    ),
    Bad("the authority itself", the_authority, rf"`trial` {OFF}", rf"{DIFFERS}subject`.*: it is of `trial`"),
)
