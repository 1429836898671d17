# SPDX-License-Identifier: Apache-2.0
"""How a column of a PostgreSQL table is read, by its type (https://www.postgresql.org/docs/current/datatype.html)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as types
from sqlalchemy.sql import sqltypes

from cloister.records.sql.postgresql_binary import (
    Cells,
    as_bytes,
    as_dates,
    as_floats,
    as_moments,
    as_truth,
    as_whole_numbers,
)
from cloister.records.sql.pushdown import Sort, SqlColumn
from cloister.silos import Column, ColumnKind

Reader = Callable[[Cells], pa.Array]


@dataclass(frozen=True)
class PostgresqlColumn:
    """A column that can be read.

    Attributes:
        selected: what is asked of the server.
        read: makes cells of what it answers; bytes where it is text.
        filtered: how a row filter may look at it.
    """

    selected: sa.ColumnElement[Any]
    read: Reader
    filtered: SqlColumn


# The first that fits counts: for SQLAlchemy a BIGINT is an Integer as well, and a float a kind of Numeric.
_PLAIN: tuple[tuple[type[Any], Reader, Sort], ...] = (
    (sqltypes.Boolean, as_truth, Sort.TRUTH),
    (sqltypes.SmallInteger, as_whole_numbers(">i2"), Sort.WHOLE),
    (sqltypes.BigInteger, as_whole_numbers(">i8"), Sort.WHOLE),
    (sqltypes.Integer, as_whole_numbers(">i4"), Sort.WHOLE),
    (sqltypes.REAL, as_floats(">f4"), Sort.FLOAT),
    (sqltypes.Float, as_floats(">f8"), Sort.FLOAT),
    (sqltypes.Date, as_dates, Sort.DATE),
)
_IN_WORDS: tuple[type[Any], ...] = (
    sqltypes.String,
    sqltypes.Uuid,
    sqltypes.JSON,
    sqltypes.Time,
    types.INTERVAL,
    types.INET,
    types.CIDR,
    types.MACADDR,
    types.MACADDR8,
)
"""Types whose values the server can write as text that people know. All others are refused."""


def column_of(cell: sa.ColumnClause[Any], kind: sa.types.TypeEngine[Any], declared: Column | None) -> PostgresqlColumn:
    """How to read ``cell``.

    Args:
        cell: the column.
        kind: its type, as the server describes it.
        declared: what the silo document says of it.

    Raises:
        ValueError: where the type has no single value that could be declared.
    """
    if isinstance(kind, types.DOMAIN):
        return column_of(cell, kind.data_type, declared)
    for known, reader, sort in _PLAIN:
        if isinstance(kind, known):
            return PostgresqlColumn(cell, reader, SqlColumn(cell, sort))
    if isinstance(kind, sqltypes.Numeric):
        return _decimal(cell, declared)
    if isinstance(kind, sqltypes.DateTime):
        reader, sort = (as_moments("UTC"), Sort.MOMENT) if kind.timezone else (as_moments(None), Sort.ZONELESS)
        return PostgresqlColumn(cell, reader, SqlColumn(cell, sort))
    if isinstance(kind, _IN_WORDS):
        # `char(n)` without the blanks that fill it, which mean nothing; jsonb and the like as people write them.
        text = cell if type(kind) in (sqltypes.TEXT, sqltypes.VARCHAR) else sa.cast(cell, sa.Text())
        return PostgresqlColumn(text, as_bytes, SqlColumn(sa.collate(sa.cast(cell, sa.Text()), "C"), Sort.TEXT))
    raise ValueError("has no single value that could be declared")


def _decimal(cell: sa.ColumnClause[Any], declared: Column | None) -> PostgresqlColumn:
    filtered = SqlColumn(cell, Sort.DECIMAL)
    if declared is not None and declared.kind is ColumnKind.INTEGER:
        # So that 5.00 is the whole number that it is.
        return PostgresqlColumn(sa.cast(sa.func.trim_scale(cell), sa.Text()), as_bytes, filtered)
    text = sa.cast(cell, sa.Text())
    is_number = declared is not None and declared.kind is ColumnKind.NUMBER
    return PostgresqlColumn(text, _nearest_floats if is_number else as_bytes, filtered)


def _nearest_floats(cells: Cells) -> pa.Array:
    """Decimals as floats; one that is larger than floats go becomes infinite."""
    return as_bytes(cells).cast(pa.string()).cast(pa.float64())
