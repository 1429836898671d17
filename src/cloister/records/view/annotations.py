# SPDX-License-Identifier: Apache-2.0
"""Cells of marked pieces and of conversations: those that no trainer could read are invalid, others are written anew.

Only what a trainer needs is written: places and labels of pieces, roles and contents of messages. Exports have further
keys, such as who marked a piece, or a copy of the record; no silo document declares those, and no gate looks at them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from cloister.errors import RecordsError
from cloister.records.schema import Conformed
from cloister.silos.dialogue import messages_of
from cloister.silos.spans import spans_of


def messages_checked(conformed: Conformed) -> Conformed:
    """``conformed`` with those cells invalid that are no conversation."""
    return _rewritten(conformed, (_try(_messages, cell) for cell in conformed.cells.to_pylist()))


def spans_checked(conformed: Conformed, texts: list[str | None], labels: tuple[str, ...]) -> Conformed:
    """``conformed`` with those cells invalid that mark what is not in their text; of the others the job's pieces.

    A piece with a label that the job does not name is left out, and its record stays: rejecting it would let a job
    filter records by labels of its choice, and count them.
    """
    pairs = zip(conformed.cells.to_pylist(), texts, strict=True)
    return _rewritten(
        conformed,
        (_try(partial(_pieces, length=len(text or ""), labels=labels), cell) for cell, text in pairs),
    )


def _pieces(cell: str, length: int, labels: tuple[str, ...]) -> str:
    return json.dumps([vars(piece) for piece in spans_of(cell, length=length) if piece.label in labels])


def _messages(cell: str) -> str:
    return json.dumps([vars(message) for message in messages_of(cell)])


def _try(read: Callable[[str], str], cell: str | None) -> str | None:
    try:
        return None if cell is None else read(cell)
    except RecordsError:
        return None


def _rewritten(conformed: Conformed, cells: Iterable[str | None]) -> Conformed:
    written = pa.array(list(cells), pa.string())
    broken = pc.and_(pc.is_valid(conformed.cells), pc.is_null(written))
    return Conformed(written, pc.or_(conformed.invalid, broken))
