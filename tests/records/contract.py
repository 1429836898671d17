# SPDX-License-Identifier: Apache-2.0
"""What the tests of stores have in common: how one is made, read to its end, and what a refusal must look like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cloister.errors import RecordsError
from cloister.records import open_store
from cloister.records.interface import Store
from tests.records.writers import WRITERS, Row, dataset

SECRET = "the-patient-said-so"  # stands for a record's content: no message may hold it
NAUGHTY = Path(__file__).resolve().parents[3] / "shared" / "data" / "bad_inputs" / "naughty_strings" / "blns.json"


def made(kind: str, folder: Path, content: list[Row], **columns: tuple[str, ...]) -> Store:
    """A store of ``kind`` that holds ``content``."""
    WRITERS[kind](folder / f"notes.{kind}", content, **columns)
    return open_store(dataset(kind, f"notes.{kind}"), root=folder)


def everything(store: Store, *columns: str, types: Mapping[str, pa.DataType] | None = None) -> list[tuple[Any, ...]]:
    """Every row; each column is text, but for those of which ``types`` says otherwise."""
    found: list[tuple[Any, ...]] = []
    for batch in store.batches(columns):
        assert batch.schema == pa.schema([(column, (types or {}).get(column, pa.string())) for column in columns])
        batch.validate(full=True)
        found += zip(*(cells.to_pylist() for cells in batch.columns), strict=True)
    return found


def refusal(store_or_path: Store | Path, kind: str = "") -> RecordsError:
    """The refusal of a store, which names the file and no content."""
    with pytest.raises(RecordsError) as caught:
        if isinstance(store_or_path, Path):
            path = store_or_path
            everything(open_store(dataset(kind, path.name), root=path.parent), "note", "triage")
        else:
            everything(store_or_path, "note", "triage")
    text = str(caught.value)
    assert SECRET not in text
    assert "notes" in caught.value.message
    assert text[0] in "`cl"  # a file, a column or a line
    assert "\n" not in text
    assert text.isprintable()
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, OSError)
    return caught.value
