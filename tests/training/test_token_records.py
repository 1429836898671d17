# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from cloister.errors import RecordsError
from cloister.silos.spans import Span
from cloister.training.token_records import NO_TAG, Encoded, TokenRecords, read_token_records, tags_on

NUMBERS = {"drug": 0, "dose": 1}


def encoded(text: str, longest: int = 99) -> Encoded:
    """Runs of at most three characters, between two tokens that stand for no text."""
    places = [match.span() for match in re.finditer(r"\S{1,3}", text)][:longest]
    tokens = [1, *range(10, 10 + len(places)), 2]
    return Encoded(tokens, [(0, 0), *places, (0, 0)], [1, *[0] * len(places), 1])


def read(folder: Path, texts: list[str | None], cells: list[str | None], longest: int = 99) -> TokenRecords:
    columns = {"note": pa.array(texts, pa.string()), "drugs": pa.array(cells, pa.string()), "other": ["x"] * len(texts)}
    pyarrow.parquet.write_table(pa.table(columns), folder / "train.parquet")
    return read_token_records(
        str(folder),
        "train.parquet",
        text="note",
        entities="drugs",
        labels=("drug", "dose"),
        encode=lambda some: [encoded(text, longest) for text in some],
        padding=0,
    )


def marked(*spans: tuple[int, int, str]) -> str:
    return json.dumps([{"start": start, "end": end, "label": label} for start, end, label in spans])


@pytest.mark.parametrize(
    ("spans", "tags", "lost"),
    [
        ((), [0, 0, 0, 0], 0),
        ((Span(0, 6, "drug"),), [1, 2, 0, 0], 0),  # both tokens of a word
        ((Span(7, 9, "dose"),), [0, 0, 3, 0], 0),
        ((Span(1, 2, "drug"),), [1, 0, 0, 0], 0),  # inside a token
        ((Span(2, 8, "drug"), Span(8, 12, "dose")), [1, 2, 2, 3], 0),  # the token that both share is the first one's
        ((Span(7, 8, "drug"), Span(8, 9, "dose")), [0, 0, 1, 0], 1),
        ((Span(6, 7, "drug"),), [0, 0, 0, 0], 1),  # a blank has no token
    ],
)
def test_which_token_has_which_tag(spans: tuple[Span, ...], tags: list[int], lost: int) -> None:
    assert tags_on(encoded("aspiri 5m of"), spans, NUMBERS) == ([NO_TAG, *tags, NO_TAG], lost)


def test_reads_texts_and_pieces(tmp_path: Path) -> None:
    found = read(tmp_path, ["take it", ""], [marked((0, 4, "drug")), "[]"])
    assert [tokens.tolist() for tokens in found.tokens] == [[1, 10, 11, 12, 2], [1, 2]]
    assert [tags.tolist() for tags in found.tags] == [[NO_TAG, 1, 2, 0, NO_TAG], [NO_TAG, NO_TAG]]
    assert found.lengths.tolist() == [5, 2]
    assert found.lost == 0


def test_pieces_behind_the_cut_are_counted(tmp_path: Path) -> None:
    assert read(tmp_path, ["abc def ghi"], [marked((0, 3, "drug"), (4, 7, "drug"), (8, 11, "dose"))], 2).lost == 1


def test_pads_to_the_longest_of_the_batch(tmp_path: Path) -> None:
    found = read(tmp_path, ["a", "b c", "d e f"], ["[]", marked((2, 3, "dose")), "[]"])
    batch = found.batch(np.array([1, 0]), torch.device("cpu"))
    assert batch.tokens.tolist() == [[1, 10, 11, 2], [1, 10, 2, 0]]
    assert batch.mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch.tags.tolist() == [[NO_TAG, 0, 3, NO_TAG], [NO_TAG, 0, NO_TAG, NO_TAG]]


def test_reads_a_file_without_records(tmp_path: Path) -> None:
    assert len(read(tmp_path, [], [])) == 0


@pytest.mark.parametrize(
    ("text", "cell", "wrong"),
    [
        (None, "[]", "column `note` holds no text"),
        ("Jane", None, "column `drugs` holds no marked pieces"),
        ("Jane", "Jane", "column `drugs` is not JSON"),
        ("Jane", marked((0, 5, "drug")), "column `drugs` marks a piece that does not lie in the text"),
        (
            "Jane",
            marked((0, 4, "Doe")),
            "column `drugs` marks a piece with a label that is not among the declared ones",
        ),
        ("Jane", marked((0, 3, "drug"), (2, 4, "dose")), "column `drugs` marks pieces that overlap"),
    ],
)
def test_refuses_a_bad_row_without_quoting_it(text: str | None, cell: str | None, wrong: str, tmp_path: Path) -> None:
    with pytest.raises(RecordsError) as caught:
        read(tmp_path, ["fine", text], ["[]", cell])
    assert str(caught.value).startswith(f"row 2 of the view's `train.parquet`: {wrong}")
    assert "Jane" not in str(caught.value)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"note": ["Jane"]}), tmp_path / "train.parquet")
    with pytest.raises(RecordsError, match="lacks a column of the job"):
        read_token_records(
            str(tmp_path), "train.parquet", text="note", entities="drugs", labels=(), encode=lambda _: [], padding=0
        )
