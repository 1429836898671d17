# SPDX-License-Identifier: Apache-2.0
"""One pass over the resources of an export: which are used, and what of each is kept."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cloister.records.fhir.columns import LOWEST_WINS, Other, Own, SeveralError, columns_by_kind, day_of
from cloister.records.fhir.element_types import is_valid
from cloister.records.fhir.json_text import NotFhirJsonError, check_depth
from cloister.records.fhir.path import Resource
from cloister.records.fhir.reader import Item
from cloister.records.fhir.resource import is_modified, is_undone, is_withdrawn, keys_of, moment_of, server_of
from cloister.records.fhir.tables import Tables
from cloister.records.fhir.value import UnusableError


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
        self._server: str | None = None
        self._units: dict[str, str] = {}

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
            needed = self._needed(resource, keys[0], wanted)
            self._compare(item, needed)
            self._keep(kind, keys, needed)
        except NotFhirJsonError as error:
            raise item.where.refusal(str(error), "export it again") from None
        except KeyError:
            hint = "an export holds one version of each resource"
            raise item.where.refusal(f"is another `{kind}` of an id or address that was there before", hint) from None
        except _AmbiguousError as error:
            hint = "choose one, such as `name[0].family`"
            raise item.where.refusal(f"has not one value where column `{error}` looks", hint) from None

    def _compare(self, item: Item, needed: _Needed) -> None:
        """See that an id means one resource, and a column's numbers one unit, wherever in the export they stand.

        Raises:
            RecordsError: where they do not.
        """
        for server in {*needed.servers, server_of(item.full_url)} - {None}:
            if self._server not in (None, server):
                hint = "an export is of one server, on which an id is one person's; read those of each by themselves"
                raise item.where.refusal("is of another server than what was read before, or refers to one", hint)
            self._server = server
        for name, unit in needed.units:
            if self._units.setdefault(name, unit) != unit:
                hint = "state as `unit` the one that counts"
                raise item.where.refusal(f"brings column `{name}` a number in another unit than before", hint)

    def _needed(self, resource: Resource, own: str, wanted: Sequence[Other]) -> _Needed:
        kind = resource["resourceType"]
        if is_undone(resource):
            wanted = [column for column in wanted if column.asks_for_undone()]
        if is_withdrawn(resource) or (is_undone(resource) and (kind == self._kind or not wanted)):
            return _Needed(withdrawn=True)
        if not is_valid(resource) or is_modified(resource):
            return _Needed(broken=True)
        needed = _Needed()
        if kind == self._kind:
            self._row(resource, needed)
        for column in self._followed.get(kind, ()):
            try:
                cell = _cell(column, resource)
            except UnusableError:
                needed.broken = True
                continue
            if cell is not None:
                needed.followed.append((column.number, cell))
                needed.note_unit(column, resource)
        self._measure(resource, own, wanted, needed)
        return needed

    def _row(self, resource: Resource, needed: _Needed) -> None:
        """What a row's own resource says of each column; nothing where one of the values is of no use."""
        cells: list[Any] = []
        for column in self._columns:
            try:
                cells.append(_own(column, resource, needed.servers))
            except SeveralError:
                raise _AmbiguousError(column.name) from None
            except UnusableError:
                needed.broken = True
                return
            if isinstance(column, Other) and column.field.take is None:
                needed.referred.update(cells[-1][:-1])
            elif isinstance(column, Own) and cells[-1] is not None:
                needed.note_unit(column, resource)
        needed.cells = cells

    def _measure(self, resource: Resource, own: str, wanted: Sequence[Other], needed: _Needed) -> None:
        """What ``resource`` brings to those to whom it refers."""
        moment = moment_of(resource)
        for column in wanted:
            keys = column.refers_to(resource)
            if not keys and not column.refers_elsewhere(resource):
                needed.broken = True
            needed.referred.update(key.text for key in keys)
            needed.servers.update(key.server for key in keys)
            if not column.is_timely(moment):
                continue
            try:
                cell = _cell(column, resource)
                if cell is None:
                    continue
                number, rank = column.rank(cell, moment, own)
            except UnusableError:
                needed.broken = True
                continue
            needed.note_unit(column, resource)
            lowest = column.field.take in LOWEST_WINS
            needed.brought += [(key.text, column.number, number, rank, cell, lowest) for key in keys]

    def _keep(self, kind: str, keys: list[str], needed: _Needed) -> None:
        """Keep what is needed of one resource, once; a second time only the further names that it bears."""
        target = kind == self._kind or kind in self._followed
        if self._tables.is_new(keys[0], needed.digest()):
            self.used[kind] += 1
            self.withdrawn[kind] += needed.withdrawn
            self.broken[kind] += needed.broken
            row = None
            if kind == self._kind and not needed.withdrawn:
                row = self._tables.add_row(needed.cells)
            for key in sorted(needed.referred):
                self._tables.add_reference(key, kind)
            for key, field, number, rank, cell, lowest in needed.brought:
                self._tables.add_value(key, field, number, rank, cell, lowest=lowest)
        else:
            row = self._tables.row_of(keys[0]) if target else None
        for key in keys if target else ():
            if self._tables.add_target(key, keys[0], row):
                for field, cell in needed.followed:
                    self._tables.add_value(key, field, 0.0, "", cell, lowest=False)


@dataclass
class _Needed:
    """What the columns need of one resource.

    Attributes:
        withdrawn: whether it says that it never was so; then nothing is needed.
        broken: whether any of it is of no use.
        cells: of its row; none where it is no row, or one without any use.
        referred: the names of whom it refers to.
        followed: the column and cell for each column of those that refer to it.
        brought: for each of whom it refers to and each column: the name, the column, and what `Tables.add_value` takes.
        servers: those that it refers to; None among them where a reference does not say.
        units: in which it gives numbers, each with the column.
    """

    withdrawn: bool = False
    broken: bool = False
    cells: list[Any] = field(default_factory=list)
    referred: set[str] = field(default_factory=set)
    followed: list[tuple[int, str]] = field(default_factory=list)
    brought: list[tuple[str, int, float, str | float, str, bool]] = field(default_factory=list)
    servers: set[str | None] = field(default_factory=set)
    units: list[tuple[str, str]] = field(default_factory=list)

    def note_unit(self, column: Own | Other, resource: Resource) -> None:
        """Remember in which unit ``resource`` gives a number, where any will do but only one."""
        unit = column.unit(resource)
        if unit is not None:
            self.units.append((column.name, unit))

    def digest(self) -> bytes:
        """The same for two resources of which the same is needed."""
        everything = [self.withdrawn, self.broken, self.cells, sorted(self.referred), self.followed, self.brought]
        return hashlib.sha256(json.dumps(everything).encode()).digest()


class _AmbiguousError(Exception):
    """Names the column that finds several values."""


def _cell(column: Other, resource: Resource) -> str | None:
    try:
        return column.cell(resource)
    except SeveralError:
        raise _AmbiguousError(column.name) from None


def _own(column: Own | Other, resource: Resource, servers: set[str | None]) -> Any:
    """What a row's own resource says: the cell; or the names of whom it refers to, and then the day of an age."""
    if isinstance(column, Own):
        return column.cell(resource)
    if column.field.take is not None:
        return None
    found = column.refers_to(resource)
    servers.update(key.server for key in found)
    keys = [key.text for key in found]
    if len(keys) > 1:
        raise SeveralError
    at = column.field.age_at
    return [*keys, None if at is None else day_of(at, resource)]
