# SPDX-License-Identifier: Apache-2.0
"""Columns of the governed view, and what is wrong with one of its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from cloister.errors import RecordsError

TRAINING, VALIDATION = "train.parquet", "validation.parquet"


def read_columns(view: str, file: str, *names: str) -> list[list[Any]]:
    """The columns ``names`` of one file of the view as plain lists.

    Raises:
        RecordsError: where one of them is not there.
    """
    table = read_table(view, file, *names)
    return [table.column(name).to_pylist() for name in names]


def read_table(view: str, file: str, *names: str) -> pa.Table:
    """The columns ``names`` of one file of the view.

    Raises:
        RecordsError: where one of them is not there.
    """
    try:
        # Without threads: the sandbox counts them.
        table: pa.Table = pyarrow.parquet.read_table(
            Path(view) / file, columns=list(names), use_threads=False, pre_buffer=False
        )
        return table.select(list(names))
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise RecordsError(f"the view's `{file}` cannot be read, or lacks a column of the job") from error


def wrong_row(file: str, index: int, column: str, wrong: str) -> RecordsError:
    """The refusal of the record at ``index``, from 0, which is not quoted."""
    return RecordsError(f"row {index + 1} of the view's `{file}`: column `{column}` {wrong}")
