# SPDX-License-Identifier: Apache-2.0
"""The two Parquet files of a view, and what is said of them."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from cloister.files import sha256_of_file
from cloister.records.view.files import FILES, DigestedFile, ViewWriters
from cloister.records.view.manifest import TRAINING, VALIDATION

SCHEMA = pa.schema([("x", pa.int64())])


def test_digests_are_those_of_what_lies_on_the_disk(tmp_path: Path) -> None:
    with ViewWriters(tmp_path, SCHEMA) as writers:
        for first in range(0, 100, 10):
            batch = pa.RecordBatch.from_pydict({"x": list(range(first, first + 10))}, schema=SCHEMA)
            writers.write({TRAINING: batch, VALIDATION: batch.slice(0, 3)})
    assert set(writers.digests) == set(FILES.values())
    assert writers.digests == {file: sha256_of_file(tmp_path / file) for file in FILES.values()}
    assert parquet.read_table(tmp_path / FILES[TRAINING]).column("x").to_pylist() == list(range(100))
    assert parquet.read_table(tmp_path / FILES[VALIDATION]).num_rows == 30


def test_what_went_wrong_while_writing_is_not_lost(tmp_path: Path) -> None:
    other = pa.RecordBatch.from_pydict({"y": ["text"]})

    def write() -> None:
        with ViewWriters(tmp_path, SCHEMA) as writers:
            writers.write({TRAINING: other})

    with pytest.raises((pa.ArrowException, ValueError)):
        write()


def test_a_digested_file_is_private_new_and_only_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with DigestedFile(path) as file:
        file.write(b"one")
        file.write(memoryview(b"two"))
        assert not file.seekable()
        with pytest.raises(io.UnsupportedOperation):
            file.seek(0)
    assert path.read_bytes() == b"onetwo"
    assert file.digest() == sha256_of_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        DigestedFile(path)
