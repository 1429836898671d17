# SPDX-License-Identifier: Apache-2.0
"""FHIR R4, from bulk exports and bundles, as one flat table: a row per resource of one type.

1. All files are read once, resource by resource; what the columns need is kept in a temporary database, since whoever
   is referred to may stand in a later file. Rows come when all is read, in the order of the files.
2. A resource is used where it is a row's own, or a column asks for its type, its code and what `where` says. A resource
   that is used is checked to be valid FHIR. Of all others only the type is looked at.
3. One that is used and says that it never was so is left out: `entered-in-error`, or a refuted condition.
4. One that is used and broken, that is, no valid FHIR, or about nobody in the export, or with a value of no use, is
   counted, and brings nothing; a row of its own has nothing in any cell, so that the view rejects it. Above
   `maximum_broken_share` of the used resources of its type the store is refused.
5. The same resource twice, as bundles hold what they refer to, counts once. Two of one name that differ in what the
   columns need refuse the store, and so does a path that finds several values: no rule says which of them is meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from cloister.errors import RecordsError
from cloister.records.fhir.columns import Other, Own, columns_of
from cloister.records.fhir.element_types import has_model
from cloister.records.fhir.reader import files_of, items_of
from cloister.records.fhir.reading import Reading
from cloister.records.fhir.tables import Tables, open_tables
from cloister.records.interface import BATCH_ROWS, Store
from cloister.row_filter import RowFilter
from cloister.silos.fhir import FhirConnector

_BATCH_CHARACTERS = 16 << 20


class FhirStore(Store):
    """The resources of one type, in the files at ``path``.

    Attributes:
        used: resources that the last `batches` used, by type.
        broken: how many of them were broken, by type.
        withdrawn: how many of them say that they never were so, by type.
    """

    def __init__(self, path: Path, connector: FhirConnector) -> None:
        super().__init__(connector.path)
        self.path = path
        self._connector = connector
        self.used: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.withdrawn: Counter[str] = Counter()

    def column_names(self) -> tuple[str, ...]:
        """See `Store.column_names`."""
        for kind in {self._connector.resource, *(each.resource for each in self._connector.fields.values())}:
            if kind is not None and not has_model(kind):
                raise RecordsError(f"FHIR R4 has no resource `{kind}` that could be read", hint="see `resource`")
        files_of(self.path, self.shown)
        return tuple(self._connector.fields)

    def batches(self, columns: Sequence[str], where: RowFilter | None = None) -> Iterator[pa.RecordBatch]:  # noqa: ARG002
        """See `Store.batches`."""
        self.require_columns(columns)
        made = columns_of(self._connector, columns)
        schema = pa.schema([(name, pa.string()) for name in columns])
        with open_tables(self.shown) as tables:
            reading = Reading(self._connector.resource, made, tables)
            for path, named in files_of(self.path, self.shown):
                for item in items_of(path, named):
                    reading.take(item)
            self.used, self.broken, self.withdrawn = reading.used, reading.broken, reading.withdrawn
            self._check(reading, tables.missing())
            rows: list[list[str | None]] = []
            held = 0
            for row in _finished(made, tables):
                rows.append(row)
                held += sum(len(cell) for cell in row if cell is not None)
                if len(rows) == BATCH_ROWS or held > _BATCH_CHARACTERS:
                    yield _batch(rows, schema)
                    rows, held = [], 0
            if rows:
                yield _batch(rows, schema)

    def _check(self, reading: Reading, missing: dict[str, int]) -> None:
        for kind, used in sorted(reading.used.items()):
            invalid, lost = reading.broken[kind], missing.get(kind, 0)
            self.broken[kind] = invalid + lost
            if invalid + lost > self._connector.maximum_broken_share * used:
                raise RecordsError(
                    f"of {used} resources `{kind}` that are used from `{self.shown}`, {invalid} are no valid FHIR or "
                    f"have no value of use, and {lost} references lead to what is not in it: more than the share "
                    f"{self._connector.maximum_broken_share:g} allowed",
                    hint="mend the export, or raise `maximum_broken_share`",
                )


def _finished(columns: Sequence[Own | Other], tables: Tables) -> Iterator[list[str | None]]:
    brought = any(isinstance(column, Other) and column.field.take is not None for column in columns)
    for row, cells in tables.rows():
        if not cells:  # broken
            yield [None] * len(columns)
            continue
        states = tables.values_of_row(row) if brought else {}
        finished: list[str | None] = []
        for column, cell in zip(columns, cells, strict=True):
            if isinstance(column, Own):
                finished.append(cell)
            elif column.field.take is not None:
                finished.append(column.finish(states.get(column.number, ()), None))
            else:
                *keys, at = cell
                finished.append(column.finish(tables.value_of(keys[0], column.number) if keys else (), at))
        yield finished


def _batch(rows: list[list[str | None]], schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(cells, pa.string()) for cells in zip(*rows, strict=True)], schema=schema
    )
