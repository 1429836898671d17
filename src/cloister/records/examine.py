# SPDX-License-Identifier: Apache-2.0
"""A dataset looked through once, as views of it would be made: what is there, what is wrong, and what jobs would get.

Everything that a view does to rows is done by the view's own `Sieve`, for all columns that the policy grants and for
each job. Nothing is written, and nothing is said but numbers, names of columns, and reasons: no cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cloister.errors import RecordsError
from cloister.jobs import DatasetRef
from cloister.policies import ViewFacts
from cloister.records.fhir.store import FhirStore
from cloister.records.filter_arrow import passing
from cloister.records.free_text.deidentify import Deidentifier, Finding
from cloister.records.images.volume import Volume
from cloister.records.inspection import ColumnFacts, Inspection
from cloister.records.interface import BATCH_ROWS, Store
from cloister.records.schema import conform
from cloister.records.stores import store_of
from cloister.records.view.files import ViewImages
from cloister.records.view.manifest import TRAINING, VALIDATION
from cloister.records.view.request import FREE_TEXT, ViewRequest, check_filter, check_request
from cloister.records.view.sieve import Sieve, Tally
from cloister.records.view.write import check_tally
from cloister.row_filter import RowFilter, columns_of
from cloister.silos import ColumnKind, Dataset

Tick = Callable[[int], None]
"""Is told how many rows were looked at so far."""

_SPELLING = (
    "spell them in the silo document as the store does; the first line of a CSV file names them, commas between them"
)


@dataclass
class Got:
    """What one request would get.

    Attributes:
        tally: what was counted; None where not a row was looked at.
        refused: why there would be no view; None where there would be one.
    """

    tally: Tally | None = None
    refused: RecordsError | None = None


@dataclass
class Examination:
    """What was found of one dataset.

    Attributes:
        columns: those that were looked at.
        absent: declared ones that the store has not, or more than once.
        undeclared: how many the store has besides. They are not named: a file without a header would name its first
            record.
        whole: all that the policy grants, as one view.
        jobs: what each job would get.
        images: reasons why an image or a mask is no good, each with where it is, as the store tells it: a
            file's name may name somebody.
        resources: of a FHIR export, by type, how many were `used`, `broken` and `withdrawn`.
    """

    columns: dict[str, ColumnFacts] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    undeclared: int = 0
    whole: Got = field(default_factory=Got)
    jobs: dict[str, Got] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    resources: dict[str, dict[str, int]] = field(default_factory=dict)


def request_of_all(
    dataset: Dataset, name: str, granted: tuple[str, ...], where: RowFilter | None = None
) -> ViewRequest | None:
    """A request of all columns of ``granted`` that the dataset declares; None where there are none.

    Identifiers are left out, and every column counts as a feature, so that a row need not hold something in each.
    """
    known = [
        column
        for column in granted
        if column in dataset.columns and dataset.columns[column].kind is not ColumnKind.IDENTIFIER
    ]
    if not known:
        return None
    return ViewRequest(DatasetRef(name=name, features=tuple(known)), 0, where, "mask")


def examine(  # noqa: PLR0913 - a dataset, what is asked of it, and where everything lies
    dataset: Dataset,
    whole: ViewRequest,
    jobs: Mapping[str, ViewRequest],
    *,
    name: str,
    key: bytes,
    root: Path,
    tick: Tick,
) -> Examination:
    """Look through all rows of ``dataset`` once.

    Args:
        dataset: as the silo document declares it.
        whole: of all columns that the policy grants.
        jobs: what each job asks for, by its name.
        name: the dataset's.
        key: the secret that records are split with.
        root: the federation's folder.
        tick: told now and then how far it is.
    """
    found = Examination(jobs={job: Got() for job in jobs})
    try:
        check_filter(dataset, whole.where, name=name)
        store = store_of(dataset, root=root)
        present = store.column_names()
        found.absent = tuple(column for column in dataset.columns if present.count(column) != 1)
        found.undeclared = sum(column not in dataset.columns for column in present)
        if found.absent:
            raise RecordsError(_absent(store.shown, found.absent, present), hint=_SPELLING)
        _stream(dataset, store, whole, jobs, found, name=name, key=key, tick=tick)
    except RecordsError as error:
        found.whole.refused = found.whole.refused or error
        for got in found.jobs.values():
            got.refused = got.refused or error
    return found


def _absent(shown: str, absent: tuple[str, ...], present: Sequence[str]) -> str:
    none = ", ".join(f"`{column}`" for column in absent if column not in present)
    more = ", ".join(f"`{column}`" for column in absent if column in present)
    parts = [f"no column {none}"] if none else []
    parts += [f"more than one column {more}"] if more else []
    return f"`{shown}` has {' and '.join(parts)}"


def _stream(  # noqa: PLR0913 - see `examine`
    dataset: Dataset,
    store: Store,
    whole: ViewRequest,
    jobs: Mapping[str, ViewRequest],
    found: Examination,
    *,
    name: str,
    key: bytes,
    tick: Tick,
) -> None:
    images, gate = _Shapes(store), _Remembering()
    sieves: list[tuple[Got, Sieve]] = [(found.whole, _sieve(dataset, whole, key, gate, images, found.images))]
    read = dict.fromkeys(whole.read(dataset))
    for job, request in jobs.items():
        try:
            check_request(dataset, request, name=name)
        except RecordsError as error:
            found.jobs[job].refused = error
            continue
        read |= dict.fromkeys(request.read(dataset))
        sieves.append((found.jobs[job], _sieve(dataset, request, key, gate, images, [])))
    for got, sieve in sieves:
        got.tally = sieve.tally
    inspection = Inspection(dataset, tuple(read))
    found.columns = inspection.facts
    rows = 0
    for batch in store.batches(tuple(read)):  # unfiltered, so that rows can be numbered
        inspection.take(batch, _passes(dataset, whole.where, batch), rows)
        for got, sieve in sieves:
            _sift(got, sieve, batch)
        rows += batch.num_rows
        tick(rows)
    if isinstance(store, FhirStore):
        found.resources = {
            kind: {"used": used, "broken": store.broken[kind], "withdrawn": store.withdrawn[kind]}
            for kind, used in sorted(store.used.items())
        }
    for got, sieve in sieves:
        try:
            check_tally(sieve.tally, dataset, name)
        except RecordsError as error:
            got.refused = got.refused or error


def _sift(got: Got, sieve: Sieve, batch: pa.RecordBatch) -> None:
    if got.refused is not None:
        return
    try:
        sieve(batch)
    except RecordsError as error:
        got.refused = error


def _sieve(
    dataset: Dataset,
    request: ViewRequest,
    key: bytes,
    gate: Deidentifier,
    images: _Shapes,
    refusals: list[str],
) -> Sieve:
    looks = request.free_text != "keep" and any(dataset.columns[column].kind in FREE_TEXT for column in request.view)
    return Sieve(dataset, request, key, gate if looks else None, _ImagesLookedAt(images, refusals).take)


def _passes(dataset: Dataset, where: RowFilter | None, batch: pa.RecordBatch) -> pa.BooleanArray | None:
    if where is None or not batch.num_rows:
        return None
    names = columns_of(where)
    return passing(where, {name: conform(batch.column(name), dataset.columns[name], dataset.missing) for name in names})


def facts_of(tally: Tally, dataset: Dataset) -> ViewFacts:
    """What a policy would be told of a view with these counts."""
    training, validation = (
        {label: counts[side] for label, counts in tally.classes.items()} for side in (TRAINING, VALIDATION)
    )
    people = None if dataset.person is None else len(tally.people[TRAINING])
    named = {column: sum(found.values()) for column, found in tally.identifying.items()}
    return ViewFacts(tally.sides[TRAINING], training, tally.sides[VALIDATION], validation, people, named)


class _Remembering(Deidentifier):
    """Looks at each text once for all that ask; texts of a batch or two are remembered."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, tuple[Finding, ...]] = {}

    def find(self, text: str) -> tuple[Finding, ...]:
        if text not in self._known:
            if len(self._known) >= 2 * BATCH_ROWS:
                self._known.clear()
            self._known[text] = super().find(text)
        return self._known[text]


class _Shapes(Store):
    """Images of a store, each read once and remembered as no more than its shape and place."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.shown)
        self._store = store
        self._known: dict[str, Volume | RecordsError] = {}

    def column_names(self) -> tuple[str, ...]:
        return self._store.column_names()

    def batches(self, columns: Any, where: RowFilter | None = None) -> Any:
        return self._store.batches(columns, where)

    def read_image(self, name: str) -> Volume:
        if name not in self._known:
            try:
                volume = self._store.read_image(name)
                nothing = np.broadcast_to(np.uint8(0), volume.values.shape)
                self._known[name] = Volume(nothing, volume.affine)
            except RecordsError as error:
                self._known[name] = error
        known = self._known[name]
        if isinstance(known, RecordsError):
            raise known
        return known


class _ImagesLookedAt(ViewImages):
    """Images as a view takes them, of which none is written."""

    def __init__(self, images: _Shapes, refusals: list[str]) -> None:
        super().__init__(Path(), images)
        self.refusals = refusals

    def _write(self, volume: Volume) -> str:
        del volume
        return ""


__all__ = ["Examination", "Got", "Tick", "examine", "facts_of", "request_of_all"]
