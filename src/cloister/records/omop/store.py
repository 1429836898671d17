# SPDX-License-Identifier: Apache-2.0
"""A cohort of persons of an OMOP database (CDM 5.4), one row each; see `cloister.silos.omop`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from cloister.errors import RecordsError
from cloister.records.interface import BATCH_ROWS, Store
from cloister.records.omop.checks import OmopChecks
from cloister.records.omop.postgresql import OmopPostgresql
from cloister.records.omop.source import OmopCsv, OmopSource, OmopSqlite
from cloister.records.omop.statement import cohort_statement
from cloister.records.omop.tables import check_shape, needed
from cloister.row_filter import RowFilter
from cloister.silos.omop import OmopConnector, OmopPostgresqlSource, OmopSqliteSource
from cloister.silos.omop_fields import Feature

_TYPES: dict[str | None, pa.DataType] = {
    None: pa.bool_(),  # whether the event of another column was seen
    "exists": pa.bool_(),
    "count": pa.int64(),
    "time-to": pa.int64(),
    "latest": pa.float64(),
    "mean": pa.float64(),
    "minimum": pa.float64(),
    "maximum": pa.float64(),
}


class OmopStore(Store):
    """The cohort that ``connector`` declares.

    Rows come in the order of the persons' ids. Who belongs to the cohort does not depend on the columns asked for.
    """

    def __init__(self, connector: OmopConnector, source: OmopSource) -> None:
        super().__init__(source.shown)
        self.connector = connector
        self.source = source

    @classmethod
    def at(cls, connector: OmopConnector, root: Path) -> OmopStore:
        """The store of ``connector``; paths are relative to ``root``."""
        place = connector.source
        if isinstance(place, OmopPostgresqlSource):
            return cls(connector, OmopPostgresql(place, root))
        path = root / place.path
        if isinstance(place, OmopSqliteSource):
            return cls(connector, OmopSqlite(path, place.path))
        return cls(connector, OmopCsv(path, place.path))

    def column_names(self) -> tuple[str, ...]:
        """See `Store.column_names`; that the tables have the CDM's shape is checked too."""
        tables = needed(self.connector)
        check_shape(self.shown, self.source.columns(tables), tables)
        return tuple(self.connector.definitions)

    def batches(self, columns: Sequence[str], where: RowFilter | None = None) -> Iterator[pa.RecordBatch]:  # noqa: ARG002
        """See `Store.batches`."""
        self.require_columns(columns)
        statement = cohort_statement(self.connector, columns, self.source.schema)
        outcomes = tuple(self.connector.outcomes) if self.connector.cohort.known_outcomes else ()
        kinds = [self._kind(column) for column in columns]
        last: int | None = None
        with self.source.opened(self.connector) as reading:
            checks = OmopChecks(reading.connection, self.connector, self.shown, self.source.schema)
            checks.descendants_are_known()
            checks.cells_can_be_read()
            checks.values_are_in_one_unit(dict.fromkeys((*columns, *outcomes)))
            options = {"stream_results": True, "max_row_buffer": BATCH_ROWS}
            result = reading.connection.execution_options(**options).execute(statement)
            while rows := result.fetchmany(BATCH_ROWS):
                whose, *cells = zip(*rows, strict=True)
                last = self._last_of(whose, last)
                arrays = [_array(each, kind) for each, kind in zip(cells, kinds, strict=True)]
                with reading.paused():
                    yield pa.RecordBatch.from_arrays(arrays, names=list(columns))

    def _kind(self, name: str) -> pa.DataType:
        definition = self.connector.definitions[name]
        if isinstance(definition, Feature) and definition.take is None:
            if definition.index is not None:
                return pa.date32()
            return pa.string() if definition.person == "sex" else pa.int64()
        return _TYPES[definition.take]

    def _last_of(self, whose: Sequence[Any], before: int | None) -> int | None:
        """The last id of ``whose``, which are in order; a person with two rows would be counted twice."""
        for each in whose:
            if each == before:
                hint = "its `person_id` must be unique"
                raise RecordsError(f"table `person` of `{self.shown}` holds a person twice", hint=hint)
            before = each
        return before


def _array(cells: Sequence[Any], kind: pa.DataType) -> pa.Array:
    read = _READERS.get(kind)
    return pa.array(cells if read is None else [None if each is None else read(each) for each in cells], kind)


_READERS: dict[pa.DataType, Callable[[Any], Any]] = {
    pa.int64(): int,  # PostgreSQL sums up whole numbers to decimals
    pa.bool_(): bool,  # SQLite has 0 and 1 for them
    pa.date32(): int,
}
