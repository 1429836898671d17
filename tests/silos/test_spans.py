# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import RecordsError
from cloister.silos.spans import Span, spans_of


def cell(*pieces: object) -> str:
    return json.dumps(list(pieces))


def piece(start: object, end: object, label: object = "drug", **more: object) -> dict[str, object]:
    return {"start": start, "end": end, "label": label, **more}


def test_pieces_come_in_the_texts_order_and_may_touch() -> None:
    found = spans_of(cell(piece(7, 9, "dose", id=3), piece(0, 7)), length=9, labels=("drug", "dose"))
    assert found == (Span(0, 7, "drug"), Span(7, 9, "dose"))


def test_nothing_is_marked() -> None:
    assert spans_of("[]", length=0) == ()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "is not JSON"),
        ("nan?", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "is no list of marked pieces"),
        ("null", "is no list of marked pieces"),
        (cell("Jane"), "marks a piece without a `start`, `end` and `label`"),
        (cell(piece("0", 4)), "marks a piece without a `start`, `end` and `label`"),
        (cell(piece(0.0, 4)), "marks a piece without a `start`, `end` and `label`"),
        (cell(piece(False, 4)), "marks a piece without a `start`, `end` and `label`"),
        (cell(piece(0, 4, None)), "marks a piece without a `start`, `end` and `label`"),
        (cell({"start": 0, "end": 4}), "marks a piece without a `start`, `end` and `label`"),
        (cell(piece(-1, 4)), "marks a piece that does not lie in the text"),
        (cell(piece(4, 4)), "marks a piece that does not lie in the text"),
        (cell(piece(5, 4)), "marks a piece that does not lie in the text"),
        (cell(piece(2, 11)), "marks a piece that does not lie in the text"),
        (cell(piece(0, 4, "Jane")), "marks a piece with a label that is not among the declared ones"),
        (cell(piece(0, 4), piece(3, 6)), "marks pieces that overlap"),
        (cell(piece(0, 4), piece(0, 4)), "marks pieces that overlap"),
        (cell(piece(0, 9), piece(1, 2), piece(5, 7)), "marks pieces that overlap"),
    ],
)
def test_what_is_wrong_is_said_without_the_cell(text: str, wrong: str) -> None:
    with pytest.raises(RecordsError) as caught:
        spans_of(text, length=10, labels=("drug",))
    assert str(caught.value) == wrong


def test_what_is_not_at_hand_is_not_checked() -> None:
    assert spans_of(cell(piece(0, 10**9, "Jane"))) == (Span(0, 10**9, "Jane"),)


@given(st.text(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert spans_of(text) == ()
    except RecordsError as error:
        assert error.message.startswith(("is ", "marks "))
