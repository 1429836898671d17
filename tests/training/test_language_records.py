# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from benchmarks.small_language_model import make_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import RecordsError, TrainerError
from cloister.jobs import DatasetRef
from cloister.training.language_records import LanguageRecords, read_language_records
from cloister.training.prompts import Prompts, Tokens

CPU = torch.device("cpu")


def record(length: int, first: int = 10) -> Tokens:
    learnt = np.arange(length) >= max(1, length // 2)
    return Tokens(np.arange(first, first + length, dtype=np.int32), learnt)


def records(*lengths: int, packing: bool = True, longest: int = 8) -> LanguageRecords:
    return LanguageRecords(
        [record(length, 10 * (number + 1)) for number, length in enumerate(lengths)], longest, packing, 0
    )


def test_one_record_to_a_row() -> None:
    batch = records(3, 5, packing=False).batch(np.array([1, 0]), CPU)
    assert batch.tokens.tolist() == [[20, 21, 22, 23, 24], [10, 11, 12, 0, 0]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4], [0, 1, 2, 0, 1]]
    assert batch.learnt.tolist() == [[False, False, True, True, True], [False, True, True, False, False]]


def test_several_records_to_a_row() -> None:
    batch = records(3, 5, 2, 4).batch(np.array([0, 1, 2, 3]), CPU)
    assert batch.tokens.tolist() == [[20, 21, 22, 23, 24, 10, 11, 12], [40, 41, 42, 43, 30, 31, 0, 0]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2], [0, 1, 2, 3, 0, 1, 0, 1]]


@given(st.lists(st.integers(2, 16), min_size=1, max_size=40))
def test_packing_loses_nothing_and_no_row_is_too_long(lengths: list[int]) -> None:
    several = LanguageRecords([record(length, 100 * number) for number, length in enumerate(lengths)], 16, True, -1)
    batch = several.batch(np.arange(len(lengths)), CPU)
    assert batch.tokens.shape[1] <= 16
    wanted = sorted(number for each in several.records for number in each.numbers.tolist())
    assert sorted(batch.tokens[batch.tokens >= 0].tolist()) == wanted
    learnt = sorted(number for each in several.records for number in each.numbers[each.learnt].tolist())
    assert sorted(batch.tokens[batch.learnt].tolist()) == learnt
    # Each record stands in one piece, its positions from 0 on; no two halves of rows could be one.
    assert (batch.positions[batch.tokens >= 0] == batch.tokens[batch.tokens >= 0] % 100).all()
    half_full = (batch.tokens >= 0).sum(dim=1) <= 8
    assert half_full.sum() <= 1


def test_a_border_is_always_seen_by_transformers() -> None:
    from transformers.masking_utils import find_packed_sequence_indices

    batch = records(3, 5, 2, 4, 8).batch(np.array([0, 1, 2, 3, 4]), CPU)
    assert find_packed_sequence_indices(batch.positions).tolist() == [
        [0] * 8,
        [0] * 5 + [1] * 3,
        [0] * 4 + [1] * 2 + [2] * 2,
    ]


def read(folder: Path, columns: dict[str, list[Any]], **dataset: str) -> list[Tokens]:
    pyarrow.parquet.write_table(
        pa.table({k: pa.array(v, pa.string()) for k, v in columns.items()}), folder / "x.parquet"
    )
    prompts = Prompts(make_tokenizer([]), 64)
    return read_language_records(str(folder), "x.parquet", DatasetRef(name="d", **dataset), prompts)


def test_reads_prompts_and_completions(tmp_path: Path) -> None:
    found = read(tmp_path, {"q": ["a?", ""], "a": ["b", "cd"]}, prompt="q", completion="a")
    assert [len(each.numbers) for each in found] == [5, 4]
    assert [int(each.learnt.sum()) for each in found] == [2, 3]


def test_reads_conversations(tmp_path: Path) -> None:
    talk = json.dumps([{"role": "user", "content": "a"}, {"role": "assistant", "content": "bc"}])
    (found,) = read(tmp_path, {"talk": [talk]}, messages="talk")
    assert int(found.learnt.sum()) == 3


def test_reads_a_file_without_records(tmp_path: Path) -> None:
    assert read(tmp_path, {"q": [], "a": []}, prompt="q", completion="a") == []


@pytest.mark.parametrize(
    ("columns", "wrong"),
    [
        ({"q": ["a", None], "a": ["b", "Jane"]}, "row 2 of the view's `x.parquet`: column `q` holds no text"),
        ({"q": ["Jane"], "a": [None]}, "row 1 of the view's `x.parquet`: column `a` holds no text"),
        ({"talk": ["Jane"]}, "row 1 of the view's `x.parquet`: column `talk` is not JSON"),
        ({"talk": [None]}, "row 1 of the view's `x.parquet`: column `talk` holds no conversation"),
        ({"talk": ["[]"]}, "row 1 of the view's `x.parquet`: column `talk` has no message of the assistant"),
    ],
)
def test_refuses_a_bad_row_without_quoting_it(columns: dict[str, list[Any]], wrong: str, tmp_path: Path) -> None:
    names = {"messages": "talk"} if "talk" in columns else {"prompt": "q", "completion": "a"}
    with pytest.raises(RecordsError) as caught:
        read(tmp_path, columns, **names)
    assert str(caught.value) == wrong


def test_a_job_that_names_no_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="needs a column with prompts"):
        read(tmp_path, {"q": ["a"]}, text="q")
