# SPDX-License-Identifier: Apache-2.0
"""Cells of marked pieces and of conversations: those that a trainer could not read are invalid."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from cloister.errors import RecordsError
from cloister.records.schema import Conformed
from cloister.silos.spans import spans_of


def cells_checked(conformed: Conformed, check: Callable[[str], object]) -> Conformed:
    """``conformed`` with those cells invalid that ``check`` refuses."""
    return _fitting(conformed, [cell is None or _passes(check, cell) for cell in conformed.cells.to_pylist()])


def spans_checked(conformed: Conformed, texts: list[str | None], labels: tuple[str, ...]) -> Conformed:
    """``conformed`` with those cells invalid that mark what is not in their text, or as something else."""
    pairs = zip(conformed.cells.to_pylist(), texts, strict=True)
    return _fitting(
        conformed,
        [
            cell is None or _passes(partial(spans_of, length=len(text or ""), labels=labels), cell)
            for cell, text in pairs
        ],
    )


def _passes(check: Callable[[str], object], cell: str) -> bool:
    try:
        check(cell)
    except RecordsError:
        return False
    return True


def _fitting(conformed: Conformed, fine: list[bool]) -> Conformed:
    kept = pa.array(fine, pa.bool_())
    cells = pc.if_else(kept, conformed.cells, pa.scalar(None, pa.string()))
    return Conformed(cells, pc.or_(conformed.invalid, pc.invert(kept)))
