# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import RecordsError
from cloister.training.classification_records import ClassificationRecords, read_classification_records


def records(lengths: list[int]) -> ClassificationRecords:
    tokens = [np.arange(1, length + 1, dtype=np.int32) for length in lengths]
    return ClassificationRecords(tokens, np.arange(len(lengths), dtype=np.int64), padding=0)


def read(path: Path) -> ClassificationRecords:
    return read_classification_records(
        str(path.parent),
        path.name,
        text="note",
        label="ward",
        labels=("b", "a"),
        tokenise=lambda texts: [[len(text)] for text in texts],
        padding=0,
    )


def write(path: Path, notes: list[str | None], wards: list[str]) -> Path:
    columns = {"note": pa.array(notes, pa.string()), "ward": pa.array(wards, pa.string()), "other": wards}
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


def test_pads_to_the_longest_of_the_batch() -> None:
    batch = records([3, 1, 5]).batch(np.array([1, 0]), torch.device("cpu"))
    assert batch.tokens.tolist() == [[1, 0, 0], [1, 2, 3]]
    assert batch.mask.tolist() == [[1, 0, 0], [1, 1, 1]]
    assert batch.classes.tolist() == [1, 0]


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=120), size=st.integers(1, 9), seed=st.integers(0, 99))
def test_every_record_comes_once_per_epoch(lengths: list[int], size: int, seed: int) -> None:
    all_records = records(lengths)
    stream = all_records.shuffled(size, (seed, 0))
    per_epoch = -(-len(lengths) // size)
    for _ in range(3):
        epoch = list(itertools.islice(stream, per_epoch))
        assert {len(batch) for batch in epoch[:-1]} <= {size}
        assert sorted(np.concatenate(epoch).tolist()) == list(range(len(lengths)))
    assert sorted(np.concatenate(list(all_records.by_length(size))).tolist()) == list(range(len(lengths)))


def test_order_is_decided_by_seed_and_round() -> None:
    def first(seed: int, number: int) -> list[list[int]]:
        stream = records([1] * 50).shuffled(8, (seed, number))
        return [batch.tolist() for batch in itertools.islice(stream, 9)]

    assert first(1, 0) == first(1, 0)
    assert len({str(first(seed, number)) for seed in (0, 1) for number in (0, 1)}) == 4


def test_a_batch_holds_texts_of_like_length() -> None:
    lengths = np.random.Generator(np.random.PCG64(0)).integers(1, 101, 640).tolist()
    stream = records(lengths).shuffled(16, (0, 0))
    spread = [np.ptp([lengths[index] for index in batch]) for batch in itertools.islice(stream, 40)]
    assert np.mean(spread) < 15  # about 94 where batches are drawn without regard to length


def test_reads_text_and_class_numbers_in_the_jobs_order(tmp_path: Path) -> None:
    found = read(write(tmp_path / "x.parquet", ["xyz", "x"], ["a", "b"]))
    assert [tokens.tolist() for tokens in found.tokens] == [[3], [1]]
    assert found.classes.tolist() == [1, 0]


def test_reads_a_file_without_records(tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "x.parquet", [], []))) == 0


@pytest.mark.parametrize(
    ("notes", "wards", "wrong"),
    [
        (["x", "Jane Doe"], ["a", "Jane's ward"], "row 2 of the view's `x.parquet`: column `ward` holds a class"),
        ([None], ["a"], "row 1 of the view's `x.parquet`: column `note` holds no text"),
    ],
)
def test_refuses_what_the_job_does_not_declare_without_quoting_it(
    tmp_path: Path, notes: list[str | None], wards: list[str], wrong: str
) -> None:
    with pytest.raises(RecordsError, match=wrong) as caught:
        read(write(tmp_path / "x.parquet", notes, wards))
    assert "Jane" not in str(caught.value)
