# SPDX-License-Identifier: Apache-2.0
"""From a batch of raw rows to those of a view: typed, filtered, checked, cut, masked, and split; and the counts of it.

The order is that of `cloister.records.view.write`. Nothing here opens or writes a file, but for the images that rows
name, which are handed on one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloister.records.filter_arrow import passing
from cloister.records.schema import TYPES, Conformed, conform
from cloister.records.view.annotations import messages_checked, spans_checked
from cloister.records.view.distinct import Distinct
from cloister.records.view.manifest import TRAINING, VALIDATION
from cloister.records.view.occurrences import Occurrences
from cloister.records.view.request import FREE_TEXT, ViewRequest
from cloister.records.view.split import Split
from cloister.silos import ColumnKind, Dataset

Sides = dict[str, pa.RecordBatch]
TakeImages = Callable[[dict[str, str]], dict[str, str] | None]
"""Takes over the images of one row, by column; gives the names they have in the view, None where one is no good."""


class FreeTextGate(Protocol):
    """Looks for pieces of free text that seem to name somebody."""

    def mask_array(self, texts: pa.Array, *, messages: bool = False) -> tuple[pa.Array, Counter[str], int]:
        """``texts`` with those pieces masked; how many there were of each kind, and cells in which there were any."""

    def mask_spanned_array(self, texts: pa.Array, spans: pa.Array) -> tuple[pa.Array, pa.Array, Counter[str], int]:
        """The same of texts beside the pieces that are marked in them, which move with what is masked."""


@dataclass
class Tally:
    """Counts while rows stream by."""

    rows: int = 0
    filtered: int = 0
    rejected: int = 0
    cut: int = 0
    sides: Counter[str] = field(default_factory=Counter)
    classes: dict[str, Counter[str]] = field(default_factory=dict)
    rejected_by: Counter[str] = field(default_factory=Counter)
    people: dict[str, Distinct] = field(default_factory=lambda: {TRAINING: Distinct(), VALIDATION: Distinct()})
    identifying: dict[str, Counter[str]] = field(default_factory=dict)
    identifying_cells: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> int:
        """Records of the view, on both sides."""
        return sum(self.sides.values())


class Sieve:
    """Lets through what belongs into one view.

    Args:
        dataset: as the silo document declares it.
        request: what the job asks for, already checked against ``dataset``.
        key: the site's secret that the split is made with.
        gate: looks at free text; None where it is kept as it is.
        take_images: takes over the images of a row.
    """

    def __init__(
        self, dataset: Dataset, request: ViewRequest, key: bytes, gate: FreeTextGate | None, take_images: TakeImages
    ) -> None:
        self._dataset = dataset
        self._request = request
        wanted = request.wanted
        self._split = Split(key, request.seed, wanted.validation_share, wanted.model_dump_json())
        self._occurrences = Occurrences()
        self._gate = gate
        self._take_images = take_images
        self._columns = {name: dataset.columns[name] for name in request.read(dataset)}
        self._required = _required(dataset, request)
        self.tally = Tally(classes={label: Counter() for label in _classes(request)})

    @property
    def schema(self) -> pa.Schema:
        """The view's columns with their types."""
        return pa.schema([(name, TYPES[self._columns[name].kind]) for name in self._request.view])

    def __call__(self, batch: pa.RecordBatch) -> Sides:
        """The rows of ``batch`` that belong into the view, by side of the split."""
        self.tally.rows += batch.num_rows
        conformed = {
            name: conform(batch.column(name), column, self._dataset.missing) for name, column in self._columns.items()
        }
        conformed = self._let_through(conformed, batch.num_rows)
        cells = self._checked(conformed)
        told_by = self._told_by(cells)
        if self._gate is not None:
            cells = self._masked(cells, self._gate)
        return self._sides(cells, told_by)

    def _let_through(self, conformed: dict[str, Conformed], rows: int) -> dict[str, Conformed]:
        condition = self._request.where
        if condition is None or not rows:
            return conformed
        passes = passing(condition, conformed)
        self.tally.filtered += rows - (pc.sum(passes).as_py() or 0)
        return {name: Conformed(it.cells.filter(passes), it.invalid.filter(passes)) for name, it in conformed.items()}

    def _checked(self, conformed: dict[str, Conformed]) -> dict[str, pa.Array]:
        """Texts cut, and rows that break the schema rejected."""
        for name in self._request.view:
            if self._columns[name].kind is ColumnKind.TEXT:
                conformed[name] = self._cut(conformed[name], self._columns[name].maximum_characters)
        conformed.update(self._annotated(conformed))
        good: pa.BooleanArray | None = None
        for name in dict.fromkeys((*self._request.view, *self._required)):
            broken = conformed[name].invalid
            if name in self._required:
                broken = pc.or_(broken, pc.is_null(conformed[name].cells))
            fine = pc.invert(broken)
            still = fine if good is None else pc.and_(good, fine)
            self._reject(name, len(still) if good is None else pc.sum(good).as_py() or 0, still)
            good = still
        cells = {name: it.cells for name, it in conformed.items()}
        if good is not None and pc.all(good).as_py() is False:
            cells = {name: each.filter(good) for name, each in cells.items()}
        return self._with_images(cells)

    def _annotated(self, conformed: dict[str, Conformed]) -> dict[str, Conformed]:
        """Marked pieces and conversations, of which those are invalid that a trainer could not read."""
        wanted, found = self._request.wanted, {}
        if wanted.messages is not None:
            found[wanted.messages] = messages_checked(conformed[wanted.messages])
        if wanted.entities is not None and wanted.text is not None:
            texts = conformed[wanted.text].cells.to_pylist()  # cut by now, and so must the pieces be
            found[wanted.entities] = spans_checked(conformed[wanted.entities], texts, wanted.labels)
        return found

    def _reject(self, name: str, before: int, still: pa.BooleanArray) -> None:
        lost = before - (pc.sum(still).as_py() or 0)
        if lost:
            self.tally.rejected += lost
            self.tally.rejected_by[name] += lost

    def _cut(self, conformed: Conformed, longest: int) -> Conformed:
        """A text is null where nothing but white space is left of it, which what a job learns from may not be."""
        texts = conformed.cells
        long = pc.greater(pc.utf8_length(texts), longest)
        if pc.any(long).as_py():
            texts = pc.utf8_slice_codeunits(texts, 0, longest)
        blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)
        self.tally.cut += pc.sum(pc.and_(long, pc.invert(blank))).as_py() or 0
        return Conformed(pc.if_else(blank, pa.scalar(None, pa.string()), texts), conformed.invalid)

    def _with_images(self, cells: dict[str, pa.Array]) -> dict[str, pa.Array]:
        names = [name for name in self._request.view if self._columns[name].kind is ColumnKind.IMAGE]
        if not names:
            return cells
        taken: dict[str, list[str]] = {name: [] for name in names}
        good = []
        for row in zip(*(cells[name].to_pylist() for name in names), strict=True):
            kept = self._take_images(dict(zip(names, row, strict=True)))
            good.append(kept is not None)
            for name in names if kept is not None else ():
                taken[name].append((kept or {})[name])
        lost = good.count(False)
        if lost:
            self.tally.rejected += lost
            self.tally.rejected_by[names[0]] += lost
        told_by = {f"\0{name}": cells[name] for name in names}  # a record is told by its image's own name
        kept_cells = {name: each.filter(pa.array(good, pa.bool_())) for name, each in {**cells, **told_by}.items()}
        return {**kept_cells, **{name: pa.array(each, pa.string()) for name, each in taken.items()}}

    def _told_by(self, cells: dict[str, pa.Array]) -> pa.Array:
        """What decides on which side a record falls: its person; or else its text; or else all that the view holds."""
        if self._dataset.person is not None:
            return cells[self._dataset.person]
        texts = [name for name in self._request.view if self._columns[name].kind in FREE_TEXT]
        if texts:
            return pc.fill_null(cells[texts[0]], "")  # as a feature a text may be missing, and else would fall nowhere
        parts = [cells.get(f"\0{name}", cells[name]).cast(pa.string()) for name in self._request.view]
        if len(parts) == 1:
            return pc.fill_null(parts[0], "")
        return pc.binary_join_element_wise(*parts, "\x1f", null_handling="replace", null_replacement="")

    def _masked(self, cells: dict[str, pa.Array], gate: FreeTextGate) -> dict[str, pa.Array]:
        masked = dict(cells)
        text, entities = self._request.wanted.text, self._request.wanted.entities
        if text is not None and entities is not None:
            spanned = gate.mask_spanned_array(cells[text], cells[entities])
            masked[text], masked[entities] = spanned[:2]
            self._count_found(text, *spanned[2:])
            return masked
        for name in self._request.view:
            kind = self._columns[name].kind
            if kind in FREE_TEXT:
                texts, found, touched = gate.mask_array(cells[name], messages=kind is ColumnKind.MESSAGES)
                masked[name] = texts
                self._count_found(name, found, touched)
        return masked

    def _count_found(self, name: str, found: Counter[str], touched: int) -> None:
        self.tally.identifying.setdefault(name, Counter()).update(found)
        self.tally.identifying_cells[name] += touched

    def _sides(self, cells: dict[str, pa.Array], told_by: pa.Array) -> Sides:
        words = told_by.dictionary_encode()
        different = words.dictionary.cast(pa.binary()).to_pylist()
        numbers = self._split.numbers(different)
        held = self._held(numbers, words.indices)
        person = self._dataset.person
        if person is not None:
            self._count_people(words.indices, numbers, held)
            if person in self._request.view:
                cells = {**cells, person: pa.array(self._split.pseudonyms(different), pa.string()).take(words.indices)}
        whole = pa.RecordBatch.from_arrays([cells[name] for name in self._request.view], schema=self.schema)
        sides = {TRAINING: whole.filter(pc.invert(held)), VALIDATION: whole.filter(held)}
        for side, batch in sides.items():
            self._count(side, batch)
        return sides

    def _held(self, numbers: npt.NDArray[np.uint64], indices: pa.Array) -> pa.BooleanArray:
        """Which records are kept for validation.

        Of records without a person, text or image there may be as many alike as have a value; were they to stay
        together, the numbers of records on both sides would tell how many those are.
        """
        if not self._alike:
            return pa.array(self._split.held_back(numbers)).take(indices)
        occurrences = self._occurrences.of(numbers.tolist(), indices)
        own = numbers[indices.to_numpy(zero_copy_only=False)]
        return pa.array(self._split.held_back(self._split.repeated(own, occurrences)))

    @property
    def _alike(self) -> bool:
        """Whether records are told by values that many may have."""
        kinds = {self._columns[name].kind for name in self._request.view}
        return self._dataset.person is None and kinds.isdisjoint(FREE_TEXT | {ColumnKind.IMAGE})

    def _count_people(self, indices: pa.Array, numbers: npt.NDArray[np.uint64], held: pa.BooleanArray) -> None:
        for side, chosen in ((VALIDATION, held), (TRAINING, pc.invert(held))):
            present = pc.unique(indices.filter(chosen)).to_numpy(zero_copy_only=False)
            self.tally.people[side].add(numbers[present])

    def _count(self, side: str, batch: pa.RecordBatch) -> None:
        self.tally.sides[side] += batch.num_rows
        wanted = self._request.wanted
        by = wanted.label or wanted.event
        if by is None:
            return
        for each in batch.column(by).value_counts().to_pylist():
            value = each["values"]
            label = value if isinstance(value, str) else EVENT if value else CENSORED
            self.tally.classes[label][side] += each["counts"]


EVENT, CENSORED = "event", "censored"
"""How the two kinds of record of survival are called where classes are counted."""


def _classes(request: ViewRequest) -> tuple[str, ...]:
    if request.wanted.event is not None:
        return (EVENT, CENSORED)
    return request.wanted.labels if request.wanted.label is not None else ()


def _required(dataset: Dataset, request: ViewRequest) -> tuple[str, ...]:
    """Columns in which a row must have something: all but features, and those that are declared so."""
    found = [name for role, name, _ in request.wanted.columns if role != "features" or dataset.columns[name].required]
    return tuple(dict.fromkeys([*found, *([dataset.person] if dataset.person is not None else [])]))
