# SPDX-License-Identifier: Apache-2.0
"""The strict loader: a document is right, or every mistake in it is named with its line."""

from __future__ import annotations

import datetime
import json
import os
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from cloister.documents import MAXIMUM_BYTES, MAXIMUM_DEPTH, MAXIMUM_PROBLEMS, Document, Model, load, parse, refuse
from cloister.errors import ExitStatus, InvalidDocumentsError
from cloister.jobs import Job
from cloister.names import Word
from cloister.roster import Federation
from cloister.silos import Silo

ROOT = Path(__file__).resolve().parent.parent
BOMBS = ROOT.parent / "shared" / "data" / "bad_inputs" / "yaml_bombs"


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Shelf(Model):
    kind: Literal["shelf"]
    boards: int = Field(ge=1)


class Drawer(Model):
    kind: Literal["drawer"]
    handle: str


class Room(Model):
    name: Word
    colour: Colour = Colour.RED
    area: float = 1.0
    lit: bool = True
    built: datetime.date | None = None
    door: Annotated[int, Field(ge=1)] | Literal["none"] = "none"
    things: dict[Word, Annotated[Shelf | Drawer, Field(discriminator="kind")]] = Field(default_factory=dict)
    guests: tuple[str, ...] = ()


def read(text: str | bytes) -> Document[Room]:
    return parse(text if isinstance(text, bytes) else text.encode(), Room, name="room.yaml")


def mistakes(text: str | bytes) -> list[str]:
    with pytest.raises(InvalidDocumentsError) as caught:
        read(text)
    assert caught.value.exit_status == ExitStatus.INVALID_DOCUMENTS
    return [str(problem) for problem in caught.value.problems]


def test_a_right_document_is_read_as_it_stands() -> None:
    text = (
        b"name: hall\narea: 2.5e1\nbuilt: 1999-12-31\nthings:\n  a: { kind: shelf, boards: 3 }\nguests: [x, 'no', no]\n"
    )
    document = read(text)
    assert document.value == Room(
        name="hall",
        area=25.0,
        built=datetime.date(1999, 12, 31),
        things={"a": Shelf(kind="shelf", boards=3)},
        guests=("x", "no", "no"),
    )
    assert document.text == text
    assert document.source.at("things", "a", "boards") == "room.yaml:5"
    assert document.source.at("guests", 1) == "room.yaml:6"
    assert document.source.at("guests", 99) == "room.yaml:6"  # the nearest there is
    assert document.source.at() == "room.yaml:1"


def test_unknown_key_names_line_and_nearest() -> None:
    assert mistakes("name: a\nthings:\n  b:\n    kind: shelf\n    bords: 2\n    boards: 2\n") == [
        "room.yaml:5: unknown key `bords` (did you mean `boards`?)"
    ]
    assert mistakes("name: a\nzzz: 1\n") == ["room.yaml:2: unknown key `zzz`"]


def test_duplicate_key_names_both_lines() -> None:
    assert mistakes("name: a\narea: 1\nname: b\n") == ["room.yaml:3: duplicate key `name` (first given on line 1)"]
    assert mistakes('name: a\n"name": b\n') == ["room.yaml:2: duplicate key `name` (first given on line 1)"]


def test_missing_key_names_its_place() -> None:
    assert mistakes("area: 1\n") == ["room.yaml:1: missing key `name`"]
    assert mistakes("name: a\nthings:\n  b:\n    kind: drawer\n") == ["room.yaml:3: missing key `things.b.handle`"]


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("area: wide", "`area` must be a number, not text"),
        ('area: "1"', "`area` must be a number, not text"),
        ("lit: yes", "`lit` must be true or false, not text"),
        ("lit: 1", "`lit` must be true or false, not a number"),
        ("guests: Bo", "`guests` must be a list, not text"),
        ("guests: [1]", "an entry of `guests` must be text, not a number"),
        ("guests: [null]", "an entry of `guests` must be text, not empty"),
        ("things: []", "`things` must be a mapping of keys to values, not a list"),
        ("built: 31.12.1999", "`built` must be a date such as 2027-01-31, not text"),
        ("colour: green", "`colour` should be 'red' or 'blue'"),
        ("things: { 'B 1': { kind: shelf, boards: 1 } }", "`things.B 1` must be 1 to 63 lower-case letters"),
        ("things: { b: { kind: bed } }", "`things.b` is of an unknown kind `bed` (known: `shelf`, `drawer`)"),
        ("things: { b: { boards: 1 } }", "missing key `things.b.kind`"),
        ("area: 1e999", "number"),
        ("area: .nan", "`area` must be a number, not text"),
    ],
)
def test_wrong_types_and_values_are_named(line: str, wrong: str) -> None:
    found = mistakes(f"name: a\n{line}\n")
    assert len(found) == 1
    assert wrong in found[0]


def test_a_union_of_plain_values_is_named_by_its_key_alone() -> None:
    found = mistakes("name: a\ndoor: open\n")
    assert "room.yaml:2: `door` must be a whole number, not text" in found
    assert all(problem.startswith("room.yaml:2: `door` ") for problem in found)


@pytest.mark.parametrize("word", ["no", "off", "yes", "1:30", "1_000", "0x1F", "0o17", "2027-01-31", "=", "<<", "~x"])
def test_what_yaml_1_1_would_turn_into_something_else_stays_text(word: str) -> None:
    assert read(f"name: a\nguests: [{word}]\n").value.guests == (word,)


def test_every_mistake_comes_at_once_in_the_order_of_lines() -> None:
    found = mistakes(
        "nam: a\narea: x\narea: 2\nguests:\n  - &a ok\n  - *a\n  - !!python/name:os.system z\n  - ${HOME}\n"
    )
    lines = [int(problem.split(":")[1]) for problem in found]
    assert lines == sorted(lines)
    assert set(lines) == {1, 2, 3, 5, 6, 7, 8}
    assert "missing key `name`" in " ".join(found)
    assert "tag `tag:yaml.org,2002:python/name:os.system`" in " ".join(found)


@pytest.mark.parametrize("left", ["$HOME", "${HOME}", "x${A_1}y", "__SERVER_NAME__", "a __B__ c"])
@pytest.mark.parametrize("style", ["{}", '"{}"', "'{}'"])
def test_what_was_never_filled_in_is_refused(left: str, style: str) -> None:
    found = mistakes(f"name: a\nguests:\n  - {style.format(left)}\n")
    assert len(found) == 1
    assert found[0].startswith("room.yaml:3: `")
    assert "never filled in" in found[0]


def test_keys_and_block_text_are_searched_as_well() -> None:
    assert "never filled in" in mistakes("$NAME: a\nname: b\n")[0]
    assert "never filled in" in mistakes("name: a\nguests:\n  - |\n    line\n    ${X}\n")[0]


@pytest.mark.parametrize("opened", ["${" * 100_000, "}" + "${" * 100_000], ids=["never closed", "closed before"])
def test_placeholders_that_are_never_closed_cost_no_time(opened: str) -> None:
    begun = time.process_time()
    assert read(f'name: a\nguests: ["{opened}"]\n').value.guests == (opened,)
    assert time.process_time() - begun < 5


def test_no_more_than_a_hundred_mistakes_of_a_kind_are_told() -> None:
    assert len(mistakes("name: a\n" * 10_000)) == MAXIMUM_PROBLEMS
    assert len(mistakes("name: a\n" + "".join(f"key{number}: 1\n" for number in range(10_000)))) == MAXIMUM_PROBLEMS


def test_prices_are_no_variables() -> None:
    assert read("name: a\nguests: ['$5', 'a_b', '__init__', 'US$ 7']\n").value.guests[0] == "$5"


def test_alias_bomb_costs_nothing() -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    start = time.monotonic()
    found = mistakes("\n".join(lines))
    assert time.monotonic() - start < 2
    assert any("anchor or alias" in problem for problem in found)


def test_published_bombs_are_refused() -> None:
    if not BOMBS.is_dir():
        pytest.skip(f"the shared test data is not here: {BOMBS}")
    files = sorted(BOMBS.rglob("*.yaml"))
    assert files
    for file in files:
        for model in (Job, Silo, Federation):
            with pytest.raises(InvalidDocumentsError, match="anchor or alias"):
                load(file, model)


def test_a_mapping_may_not_hold_itself() -> None:
    assert any("anchor or alias" in problem for problem in mistakes("&a name: b\nthings: *a\n"))


def test_size_is_bounded_before_reading(tmp_path: Path) -> None:
    file = tmp_path / "big.yaml"
    file.write_bytes(b"name: a\n" + b"#" * MAXIMUM_BYTES)
    with pytest.raises(InvalidDocumentsError, match="larger than 256 KiB"):
        load(file, Room)
    assert mistakes(b" " * (MAXIMUM_BYTES + 1)) == [
        "room.yaml: is larger than 256 KiB (a document holds decisions, not data; split it or move data out)"
    ]


def test_keys_that_are_mappings_are_never_spelled_out() -> None:
    """Each level would double what is written: at 26 levels this took gigabytes."""
    deep = "{" * (MAXIMUM_DEPTH - 1) + "a" + ": b}" * (MAXIMUM_DEPTH - 1)
    nested = "{" * (MAXIMUM_DEPTH - 1) + "a" + "}" * (MAXIMUM_DEPTH - 1)
    begun = time.process_time()
    for text in (deep, nested):
        assert any("has a key that is not a word" in mistake for mistake in mistakes(text))
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
def test_depth_is_bounded(opening: str, closing: str) -> None:
    deep = opening * (MAXIMUM_DEPTH + 1) + "x" + closing * (MAXIMUM_DEPTH + 1)
    assert mistakes(f"name: {deep}")[0] == "room.yaml:1: is nested deeper than 32 levels"
    endless = opening * 20_000
    assert mistakes(f"name: {endless}")[0] == "room.yaml:1: is nested deeper than 32 levels"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "room.yaml:1: is empty"),
        ("# only a comment\n", "room.yaml:1: is empty"),
        ("---\n", "room.yaml:1: the document must be a mapping of keys to values, not empty"),
        ("- a\n- b\n", "room.yaml:1: the document must be a mapping of keys to values, not a list"),
        ("name: a\n---\nname: b\n", "room.yaml:2: holds more than one YAML document"),
        ("name: a\n  b: c\n", "room.yaml:2: is not YAML: mapping values are not allowed here"),
        ("name: [a\n", "room.yaml:2: is not YAML: expected ',' or ']', but got '<stream end>'"),
        (
            "name: a\n\tarea: 1\n",
            "room.yaml:2: is not YAML: found character '\\t' that cannot start any token (indent with spaces)",
        ),
        ("? [a]\n: b\nname: a\n", "room.yaml:1: has a key that is not a word"),
        ("name: a\n\nx: \x07\n", "room.yaml:3: is not YAML: holds the character U+0007, which text may not"),
        ('name: "\\ud800"\n', "room.yaml:1: holds half of a character"),
        ('name: "\\UFFFFFFFF"\n', "room.yaml:1: is not YAML: holds an escape or a directive that means nothing"),
    ],
)
def test_what_is_no_single_mapping_is_refused(text: str, wrong: str) -> None:
    assert any(problem.startswith(wrong) for problem in mistakes(text))


def test_bytes_that_are_not_utf8_are_named_by_line() -> None:
    assert mistakes(b"name: a\nguests:\n  - caf\xe9\n") == ["room.yaml:3: is not UTF-8 (save the file as UTF-8)"]
    assert mistakes("name: a\n".encode("utf-16")) == ["room.yaml:1: is not UTF-8 (save the file as UTF-8)"]


def test_a_byte_order_mark_does_no_harm() -> None:
    assert read(b"\xef\xbb\xbfname: a\n").value.name == "a"


def test_windows_line_ends_count_as_one_line() -> None:
    assert mistakes("name: a\r\narea: 1\r\nzzz: 1\r\n") == ["room.yaml:3: unknown key `zzz`"]


def test_what_a_document_says_cannot_break_a_message() -> None:
    found = mistakes('name: a\n"x\\n\\e[31mfake: all is well": 1\n')
    assert found == ["room.yaml:2: unknown key `x\\u000a\\u001b[31mfake: all is well`"]
    long = mistakes("name: a\n? " + "k" * 5000 + "\n: 1\n")
    assert len(long[0]) < 200


@pytest.mark.parametrize("missing", ["nothing.yaml", "."])
def test_what_cannot_be_read_is_said_so(tmp_path: Path, missing: str) -> None:
    with pytest.raises(InvalidDocumentsError, match="cannot be read: "):
        load(tmp_path / missing, Room)


def test_every_checked_in_document_is_valid() -> None:
    for folder, model in (("jobs", Job), ("silos", Silo), ("provisioning", Federation)):
        files = sorted((ROOT / folder).rglob("*.yaml"))
        assert files, folder
        for file in files:
            load(file, model, name=str(file.relative_to(ROOT)))


YAMLISH = st.text(alphabet="aé:-?[]{},#&*!|>'\"%@`$_~.0x1\n\t \\uU\0\u2028\ufeff", max_size=60)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.binary(max_size=200), YAMLISH.map(str.encode), YAMLISH.map(lambda text: f"name: {text}".encode())))
def test_any_bytes_are_a_document_or_named_mistakes(content: bytes) -> None:
    try:
        read(content)
    except InvalidDocumentsError as error:
        assert error.problems
        assert str(error).isprintable() or "\n" in str(error)
        str(error).encode()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_tree_of_values_is_a_document_or_named_mistakes(value: object) -> None:
    try:
        read(json.dumps({"name": "a", "things": value}))
    except InvalidDocumentsError as error:
        assert error.problems


def test_a_named_pipe_in_a_documents_place_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "room.yaml")
    with pytest.raises(InvalidDocumentsError, match="cannot be read: not a regular file"):
        load(tmp_path / "room.yaml", Room)


class Table(Model):
    legs: int
    top: str

    @model_validator(mode="after")
    def _stands(self) -> Table:
        refuse(f"has no place for `{key}`" for key in ("legs", "top") if getattr(self, key) in (0, ""))
        return self


def test_several_mistakes_of_one_validator_are_told_one_by_one_each_with_its_line() -> None:
    assert parse(b"legs: 3\ntop: oak", Table, name="table.yaml").value.legs == 3
    with pytest.raises(InvalidDocumentsError) as caught:
        parse(b"top: ''\nlegs: 0", Table, name="table.yaml")
    told = [(problem.line, problem.message) for problem in caught.value.problems]
    assert told == [(1, "has no place for `top`"), (2, "has no place for `legs`")]
