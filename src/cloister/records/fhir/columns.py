# SPDX-License-Identifier: Apache-2.0
"""The columns of a FHIR dataset, made ready: which resources each needs, and what it takes from one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from cloister.records.fhir.path import Resource, text_of, values
from cloister.records.fhir.resource import Key, Moment, bears_code, code_elements, references
from cloister.records.fhir.tables import State
from cloister.records.fhir.value import OTHERS, UnusableError, number_of, unit_of
from cloister.silos.fhir import REFERS_BY, FhirConnector, FhirField
from cloister.silos.fhir_path import Step, parse_path

LOWEST_WINS = frozenset({"first", "minimum"})
"""What is taken of several where the one with the lower rank stands."""

_BIRTH = parse_path("birthDate")


class SeveralError(Exception):
    """A path that should find one value and finds several, or a part of a resource instead of a value."""


@dataclass(frozen=True)
class Own:
    """A column found in the row's own resource.

    Attributes:
        name: the column.
        field: what the silo document says of it.
    """

    name: str
    field: FhirField

    def cell(self, resource: Resource) -> str | None:
        """Its text.

        Raises:
            SeveralError: where it is not one value.
            UnusableError: where it is there and of no use.
        """
        if self.field.age_at is not None:
            return age(_one(_BIRTH, resource), day_of(self.field.age_at, resource))
        return _extract(self.field, resource, resource)

    def unit(self, resource: Resource) -> str | None:
        """What its number is measured in; None where it holds none, or the silo document says in which unit."""
        return unit_of(resource) if _has_any_unit(self.field) else None


@dataclass(frozen=True)
class Other:
    """A column made from resources of another type, or from the one that a row's own resource refers to.

    Attributes:
        name: the column.
        number: its place among those asked for.
        field: what the silo document says of it.
        kind: the other resources' type.
        target: type of what is referred to: the rows' own, where several are taken together; else the other.
        by: paths of the reference.
        codes: each `system|code`; none where any will do.
    """

    name: str
    number: int
    field: FhirField
    kind: str
    target: str
    by: tuple[tuple[Step, ...], ...]
    codes: frozenset[str]

    def wants(self, resource: Resource) -> bool:
        """Whether a resource of the kind has a code that is asked for, of its own or in a component."""
        if self.codes and self._bearer(resource) is None:
            return False
        return all(
            any(text_of(value) in texts for value in values(parse_path(path), resource))
            for path, texts in self.field.where.items()
        )

    def refers_to(self, resource: Resource) -> list[Key]:
        """The references of ``resource`` that are or may be to the target's type."""
        return [key for key in references(self.by, resource) if key.type in (None, self.target)]

    def refers_elsewhere(self, resource: Resource) -> bool:
        """Whether it is about something of another type, such as a device, and so about no row."""
        return any(key.type not in (None, self.target) for key in references(self.by, resource))

    def asks_for_undone(self) -> bool:
        """Whether it chooses by what says that something was not done."""
        return not {"status", "doNotPerform"}.isdisjoint(self.field.where)

    def is_timely(self, moment: Moment | None) -> bool:
        """Whether a resource of that moment lies between `since` and `until`, whichever day is meant."""
        since, until = self.field.since, self.field.until
        if since is None and until is None:
            return True
        if moment is None:
            return False
        return (since is None or moment.first_day >= since.isoformat()) and (
            until is None or moment.last_day < until.isoformat()
        )

    def cell(self, resource: Resource) -> str | None:
        """What ``resource`` brings to the column; None where it brings nothing.

        Raises:
            SeveralError: where it is not one value.
            UnusableError: where it is there and of no use.
        """
        if self.field.take in ("exists", "count"):
            return ""
        if self.field.age_at is not None:
            return _one(_BIRTH, resource)
        return _extract(self.field, resource, self._bearing(resource))

    def unit(self, resource: Resource) -> str | None:
        """See `Own.unit`."""
        return unit_of(self._bearing(resource)) if _has_any_unit(self.field) else None

    def rank(self, cell: str, moment: Moment | None, key: str) -> tuple[float, str | float]:
        """The number that ``cell`` adds to a mean, and what decides which of several stands: the moment, or the number.

        Raises:
            UnusableError: where a number is needed and there is none.
        """
        take = self.field.take
        if take in ("first", "latest"):
            # One without a moment gives way to any other; of two at one moment the key decides, and not the files.
            unknown = "9999-99" if take == "first" else ""
            return 0.0, f"{unknown if moment is None else moment.text} {key}"
        if take in ("mean", "minimum", "maximum"):
            number = _number(cell)
            return number, number
        return 0.0, ""

    def finish(self, states: Sequence[State], at: str | None) -> str | None:
        """The cell, from what the resources brought.

        Args:
            states: one for each of the names under which the row was referred to.
            at: for an age, the day that is meant.
        """
        take = self.field.take
        number = sum(state.number for state in states)
        if take == "count":
            return str(number)
        if take == "exists":
            return "true" if number else "false"
        if not states:
            return None
        if take == "mean":
            return repr(sum(state.total for state in states) / number)
        choose = min if take in LOWEST_WINS else max
        value = choose(states, key=lambda state: state.rank).value
        return age(value, at) if self.field.age_at is not None else value

    def _bearing(self, resource: Resource) -> Resource:
        return (self._bearer(resource) if self.codes else None) or resource

    def _bearer(self, resource: Resource) -> Resource | None:
        """The resource, or its first component, that has one of the codes."""
        if bears_code(resource, code_elements(self.kind), self.codes):
            return resource
        components = resource.get("component", [])
        if not isinstance(components, list) or not all(isinstance(component, dict) for component in components):
            return resource  # so it is looked at, and found to be broken
        return next((each for each in components if bears_code(each, ("code",), self.codes)), None)


def columns_of(connector: FhirConnector, names: Sequence[str]) -> list[Own | Other]:
    """The columns of those names, in that order."""
    return [_column(connector, name, number) for number, name in enumerate(names)]


def columns_by_kind(columns: Iterable[Own | Other], *, several: bool) -> dict[str, list[Other]]:
    """Those made from other resources, by the type of these: of several taken together, or of one referred to."""
    found: dict[str, list[Other]] = {}
    for column in columns:
        if isinstance(column, Other) and (column.field.take is not None) == several:
            found.setdefault(column.kind, []).append(column)
    return found


def _column(connector: FhirConnector, name: str, number: int) -> Own | Other:
    field = connector.fields[name]
    if field.resource is None:
        return Own(name, field)
    target = field.resource if field.take is None else connector.resource
    by = (parse_path(field.by),) if field.by is not None else tuple(map(parse_path, REFERS_BY[target]))
    return Other(name, number, field, field.resource, target, by, frozenset(field.code))


def day_of(at: str, resource: Resource) -> str | None:
    """The day that ``at`` means: a date, or a path in ``resource``."""
    try:
        return date.fromisoformat(at).isoformat()
    except ValueError:
        return _one(parse_path(at), resource)


def age(born: str | None, at: str | None) -> str | None:
    """Whole years from ``born`` to ``at``; None where either day is not known to the day, or ``at`` lies before."""
    try:
        first, last = (date.fromisoformat((day or "")[:10]) for day in (born, at))
    except ValueError:
        return None
    years = last.year - first.year - ((last.month, last.day) < (first.month, first.day))
    return str(years) if years >= 0 else None


def _has_any_unit(field: FhirField) -> bool:
    return field.value == "number" and field.unit is None


def _extract(field: FhirField, resource: Resource, bearer: Resource) -> str | None:
    if field.path is not None:
        return _one(parse_path(field.path), resource)
    return number_of(bearer, field.unit) if field.value == "number" else OTHERS[field.value or ""](bearer)


def _one(steps: tuple[Step, ...], resource: Resource) -> str | None:
    found = values(steps, resource)
    if not found:
        return None
    if len(found) > 1 or (text := text_of(found[0])) is None:
        raise SeveralError
    return text


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise UnusableError from None
    if not math.isfinite(number):
        raise UnusableError
    return number
