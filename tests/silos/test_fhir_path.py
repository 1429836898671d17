# SPDX-License-Identifier: Apache-2.0
"""Paths into FHIR resources: what they look like."""

from __future__ import annotations

import pytest

from cloister.silos.fhir_path import Index, Name, Where, parse_path


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("id", (Name("id"),)),
        ("address[0].city", (Name("address"), Index(0), Name("city"))),
        ("name.first().family", (Name("name"), Index(0), Name("family"))),
        (
            "name.where(use = 'official').given[1]",
            (Name("name"), Where(("use",), "official"), Name("given"), Index(1)),
        ),
        (
            "identifier.where(type.coding.code='MR').value",
            (Name("identifier"), Where(("type", "coding", "code"), "MR"), Name("value")),
        ),
        (
            "extension('http://x.org/a.b').valueCode",
            (Name("extension"), Where(("url",), "http://x.org/a.b"), Name("valueCode")),
        ),
        ("whereabouts.firstly", (Name("whereabouts"), Name("firstly"))),
    ],
)
def test_what_a_path_is(text: str, steps: tuple[object, ...]) -> None:
    assert parse_path(text) == steps


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "id.",
        ".id",
        "a..b",
        "Patient.id",
        "name[",
        "name[-1]",
        "name[0",
        "name['a']",
        "a b",
        "a.count()",
        "where(use='x')",
        "first()",
        "[0]",
        "name.where(use='x' or use='y')",
        "name.where(use=x)",
        "name.where(use='it\\'s')",
        "name.where()",
        "a + b",
        "a | b",
        "%resource.id",
        "$this",
        "_birthDate",
        "__class__",
        "a.b.exists()",
        "id\n",
        "naïve",
    ],
)
def test_nothing_else_is_one(text: str) -> None:
    with pytest.raises(ValueError, match="is no path into a resource, from character"):
        parse_path(text)


def test_the_mistake_is_where_it_stands() -> None:
    with pytest.raises(ValueError, match="from character 9 on"):
        parse_path("address.count()")
