# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a column's cells, counted by reason, with the number of the first row; never a cell.

A view says by which column a row was rejected. Whoever has to mend the records must know more: what the cells are not,
and where the first such row is. Rows count from 1 in the order of the store, without a header.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from cloister.errors import RecordsError
from cloister.records.schema import Conformed, conform
from cloister.silos import Column, ColumnKind, Dataset
from cloister.silos.dialogue import messages_of
from cloister.silos.spans import spans_of

MISSING = "missing"

_NOT = {
    ColumnKind.NUMBER: "not a number",
    ColumnKind.INTEGER: "not a whole number",
    ColumnKind.BOOLEAN: "not a truth value",
    ColumnKind.DATE: "not a date",
    ColumnKind.TIMESTAMP: "not a moment",
    ColumnKind.SPANS: "not marked pieces of text",
    ColumnKind.MESSAGES: "not a conversation",
}


@dataclass
class Fault:
    """Cells of one column that are wrong in one way.

    Attributes:
        rows: how many.
        first_row: the first of them, from 1.
    """

    rows: int = 0
    first_row: int = 0


@dataclass
class ColumnFacts:
    """What was seen of one column, in numbers.

    Attributes:
        missing: cells with nothing in them.
        first_missing: the first row of them, from 1; 0 without any.
        cut: texts that are longer than the column allows.
        faults: by reason, cells that break what the column declares.
        values: of categories and truth values, how often each declared one occurs.
    """

    missing: int = 0
    first_missing: int = 0
    cut: int = 0
    faults: dict[str, Fault] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)


class Inspection:
    """Looks at columns batch by batch.

    Args:
        dataset: as the silo document declares it.
        columns: those to look at.
    """

    def __init__(self, dataset: Dataset, columns: tuple[str, ...]) -> None:
        self._dataset = dataset
        self.facts = {name: ColumnFacts(values=_nothing_yet(dataset.columns[name])) for name in columns}

    def take(self, batch: pa.RecordBatch, passes: pa.BooleanArray | None, before: int) -> None:
        """Look at the rows of ``batch`` that the policy's filter lets through.

        Args:
            batch: raw cells.
            passes: by row, whether the filter lets it through; None where there is no filter.
            before: rows of the store that came before this batch.
        """
        rows = pa.array(range(before + 1, before + batch.num_rows + 1), pa.int64())
        rows = rows if passes is None else rows.filter(passes)
        for name, facts in self.facts.items():
            raw = batch.column(name)
            self._look(facts, self._dataset.columns[name], raw if passes is None else raw.filter(passes), rows)

    def _look(self, facts: ColumnFacts, column: Column, raw: pa.Array, rows: pa.Array) -> None:
        found = conform(raw, column, self._dataset.missing)
        if column.kind in (ColumnKind.TEXT, ColumnKind.MESSAGES):
            blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(found.cells)), 0)
            nothing = pc.or_(pc.is_null(found.cells), pc.fill_null(blank, False))
        else:
            nothing = pc.and_(pc.is_null(found.cells), pc.invert(found.invalid))
        missing = rows.filter(nothing)
        if len(missing):
            facts.missing += len(missing)
            facts.first_missing = facts.first_missing or missing[0].as_py()
        if column.kind is ColumnKind.TEXT:
            facts.cut += pc.sum(pc.greater(pc.utf8_length(found.cells), column.maximum_characters)).as_py() or 0
        for reason, wrong in _wrong(column, raw, found, self._dataset.missing).items():
            which = rows.filter(wrong)
            if len(which):
                fault = facts.faults.setdefault(reason, Fault(first_row=which[0].as_py()))
                fault.rows += len(which)
        if facts.values:
            for each in pc.value_counts(pc.drop_null(found.cells).cast(pa.string())).to_pylist():
                facts.values[each["values"]] += each["counts"]


def _nothing_yet(column: Column) -> dict[str, int]:
    if column.kind is ColumnKind.BOOLEAN:
        return {"false": 0, "true": 0}
    return dict.fromkeys(column.values, 0)


def _wrong(column: Column, raw: pa.Array, found: Conformed, missing: tuple[str, ...]) -> Mapping[str, pa.BooleanArray]:
    """By reason the cells that break what ``column`` declares."""
    if column.kind in (ColumnKind.MESSAGES, ColumnKind.SPANS):
        return {_NOT[column.kind]: pa.array([_unreadable(column.kind, cell) for cell in found.cells.to_pylist()])}
    if not pc.any(found.invalid).as_py():
        return {}
    # The same cells, held against the kind alone: what is invalid there as well is not even of the kind.
    loose = column.model_copy(update={"values": (), "minimum": None, "maximum": None})
    of_kind = conform(raw, loose, missing)
    reasons = {_NOT.get(column.kind, "not readable as text"): of_kind.invalid}
    rest = pc.and_(found.invalid, pc.invert(of_kind.invalid))
    if column.values:
        return reasons | {"not among the declared values": rest}
    numbers = of_kind.cells
    if column.minimum is not None:
        low = pc.fill_null(pc.less(numbers.cast(pa.float64(), safe=False), column.minimum), False)
        reasons["below the declared minimum"] = pc.and_(rest, low)
    if column.maximum is not None:
        high = pc.fill_null(pc.greater(numbers.cast(pa.float64(), safe=False), column.maximum), False)
        reasons["above the declared maximum"] = pc.and_(rest, high)
    return reasons


def _unreadable(kind: ColumnKind, cell: str | None) -> bool:
    if not cell or not cell.strip():
        return False
    try:
        messages_of(cell) if kind is ColumnKind.MESSAGES else spans_of(cell)
    except RecordsError:
        return True
    return False
