# SPDX-License-Identifier: Apache-2.0
"""One pass over the resources of an export: which are used, and what of each is kept."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from cloister.records.fhir_columns import LOWEST_WINS, Other, Own, SeveralError, columns_by_kind, day_of
from cloister.records.fhir_json import NotFhirJsonError, check_depth
from cloister.records.fhir_path import Resource
from cloister.records.fhir_reader import Item
from cloister.records.fhir_resource import is_withdrawn, keys_of, moment_of
from cloister.records.fhir_tables import Tables
from cloister.records.fhir_types import is_valid
from cloister.records.fhir_value import UnusableError


class Reading:
    """Takes one resource after another, and keeps what the columns need of it.

    Attributes:
        used: resources used so far, by type.
        broken: how many of them are no valid FHIR or have a value of no use.
        withdrawn: how many of them say that they never were so.

    Args:
        kind: the type of which each resource is a row.
        columns: those that are made.
        tables: where it is kept.
    """

    def __init__(self, kind: str, columns: Sequence[Own | Other], tables: Tables) -> None:
        self._kind = kind
        self._columns = columns
        self._tables = tables
        self._followed = columns_by_kind(columns, several=False)
        self._measured = columns_by_kind(columns, several=True)
        self.used: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.withdrawn: Counter[str] = Counter()

    def take(self, item: Item) -> None:
        """One resource.

        Raises:
            RecordsError: where it refuses the whole store.
        """
        resource = item.resource
        kind = resource["resourceType"]
        wanted = [column for column in self._measured.get(kind, ()) if column.wants(resource)]
        if not wanted and kind != self._kind and kind not in self._followed:
            return
        keys = keys_of(resource, item.full_url)
        if not keys:
            raise item.where.refusal(f"is a `{kind}` without an id", "every resource of an export has one")
        try:
            check_depth(resource)
            if self._tables.is_new(keys[0], _digest(resource)):
                self._use(resource, keys, wanted)
        except NotFhirJsonError as error:
            raise item.where.refusal(str(error), "export it again") from None
        except KeyError:
            hint = "an export holds one version of each resource"
            raise item.where.refusal(f"is another `{kind}` of an id or address that was there before", hint) from None
        except _AmbiguousError as error:
            hint = "choose one, such as `name[0].family`"
            raise item.where.refusal(f"has not one value where column `{error}` looks", hint) from None

    def _use(self, resource: Resource, keys: list[str], wanted: Sequence[Other]) -> None:
        kind = resource["resourceType"]
        self.used[kind] += 1
        withdrawn = is_withdrawn(resource)
        self.withdrawn[kind] += withdrawn
        broken = not withdrawn and not is_valid(resource)
        sound = not withdrawn and not broken
        row = None
        if kind == self._kind and not withdrawn:
            cells = self._row(resource) if sound else None
            broken = broken or cells is None
            row = self._tables.add_row(cells or [])
        if kind == self._kind or kind in self._followed:
            for key in keys:
                self._tables.add_target(key, row)
        if sound:
            broken |= self._follow(resource, keys) | self._measure(resource, wanted, keys[0])
        self.broken[kind] += broken

    def _row(self, resource: Resource) -> list[Any] | None:
        """What a row's own resource says of each column; None where one of the values is of no use."""
        cells: list[Any] = []
        referred: set[str] = set()
        for column in self._columns:
            try:
                cells.append(_own(column, resource))
            except SeveralError:
                raise _AmbiguousError(column.name) from None
            except UnusableError:
                return None
            if isinstance(column, Other) and column.field.take is None:
                referred.update(cells[-1][:-1])
        self._refer(self._kind, referred)
        return cells

    def _refer(self, kind: str, keys: set[str]) -> None:
        """Keep to whom one resource refers, however many columns follow it there."""
        for key in sorted(keys):
            self._tables.add_reference(key, kind)

    def _follow(self, resource: Resource, keys: list[str]) -> bool:
        """Keep what rows that refer to ``resource`` take from it; whether anything of it is of no use."""
        broken = False
        for column in self._followed.get(resource["resourceType"], ()):
            try:
                cell = self._cell(column, resource)
            except UnusableError:
                broken = True
                continue
            for key in keys if cell is not None else ():
                self._tables.add_value(key, column.number, 0.0, "", cell or "", lowest=False)
        return broken

    def _measure(self, resource: Resource, wanted: Sequence[Other], own: str) -> bool:
        """Keep what ``resource`` brings to those to whom it refers; whether anything of it is of no use."""
        broken = False
        moment = moment_of(resource)
        referred: set[str] = set()
        for column in wanted:
            keys = column.refers_to(resource)
            if not keys:
                broken |= not column.refers_elsewhere(resource)
            referred.update(key.text for key in keys)
            if not column.is_timely(moment):
                continue
            try:
                cell = self._cell(column, resource)
                if cell is None:
                    continue
                number, rank = column.rank(cell, moment, own)
            except UnusableError:
                broken = True
                continue
            lowest = column.field.take in LOWEST_WINS
            for key in keys:
                self._tables.add_value(key.text, column.number, number, rank, cell, lowest=lowest)
        self._refer(resource["resourceType"], referred)
        return broken

    def _cell(self, column: Other, resource: Resource) -> str | None:
        try:
            return column.cell(resource)
        except SeveralError:
            raise _AmbiguousError(column.name) from None


class _AmbiguousError(Exception):
    """Names the column that finds several values."""


def _own(column: Own | Other, resource: Resource) -> Any:
    """What a row's own resource says: the cell; or the names of whom it refers to, and then the day of an age."""
    if isinstance(column, Own):
        return column.cell(resource)
    if column.field.take is not None:
        return None
    keys = [key.text for key in column.refers_to(resource)]
    if len(keys) > 1:
        raise SeveralError
    at = column.field.age_at
    return [*keys, None if at is None else day_of(at, resource)]


def _digest(resource: Resource) -> bytes:
    text = json.dumps(resource, sort_keys=True)
    return hashlib.sha256(text.encode()).digest()
