# SPDX-License-Identifier: Apache-2.0
"""Events of an OMOP database: in which table, of which concepts, on which days."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from cloister.documents import Model

MAXIMUM_DAYS = 36_525
"""A hundred years: the furthest that a window reaches, in days."""

ConceptId = Annotated[int, Field(ge=1, le=2**31 - 1)]
Concepts = Annotated[tuple[ConceptId, ...], Field(max_length=1000)]
Day = Annotated[int, Field(ge=-MAXIMUM_DAYS, le=MAXIMUM_DAYS)]
"""Counted from the index event, which lies on day 0."""


class Domain(StrEnum):
    """A table of events of the CDM (https://ohdsi.github.io/CommonDataModel/cdm54.html)."""

    CONDITION = "condition"
    DRUG = "drug"
    PROCEDURE = "procedure"
    MEASUREMENT = "measurement"
    OBSERVATION = "observation"
    VISIT = "visit"
    DEATH = "death"


_WITHOUT_CONCEPTS = frozenset({Domain.VISIT, Domain.DEATH})


@dataclass(frozen=True)
class Look:
    """Where to look for events.

    Attributes:
        domain: where they are recorded.
        concepts: those that count; all where there is none.
        descendants: whether kinds of them count too.
        start: first day; None for the beginning of the records.
        end: last day; None for their end.
        unit: of values, the only unit that counts.
    """

    domain: Domain
    concepts: tuple[int, ...] = ()
    descendants: bool = False
    start: int | None = None
    end: int | None = None
    unit: int | None = None


class Events(Model):
    """Events of one kind.

    Attributes:
        domain: where they are recorded.
        concepts: standard concepts that count, by id. Visits all count where none is named.
        descendants: whether what the vocabulary holds to be a kind of one of them counts too (`concept_ancestor`).
    """

    domain: Domain
    concepts: Concepts = ()
    descendants: bool = False

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        check_concepts(self.domain, self.concepts, descendants=self.descendants)
        return self

    @property
    def look(self) -> Look:
        """The same, on any day."""
        return Look(self.domain, self.concepts, self.descendants)


class Window(Events):
    """Events in a window of days, of which both ends belong to it.

    Attributes:
        start: first day, counted from the index event.
        end: last day.
    """

    start: Day = Field(alias="from")
    end: Day = Field(alias="to")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        check_order(self.start, self.end)
        return self

    @property
    def look(self) -> Look:
        """The same."""
        return Look(self.domain, self.concepts, self.descendants, self.start, self.end)


def check_concepts(domain: Domain, concepts: tuple[int, ...], *, descendants: bool) -> None:
    """Check that ``concepts`` can be looked for in ``domain``.

    Raises:
        ValueError: saying what is wrong.
    """
    if not concepts and domain not in _WITHOUT_CONCEPTS:
        raise ValueError(f"needs `concepts`, because its domain is {domain.value}")
    if len(set(concepts)) < len(concepts):
        raise ValueError("names a concept twice")
    if descendants and not concepts:
        raise ValueError("asks for `descendants` of no concept")


def check_order(start: int, end: int) -> None:
    """Check that a window does not end before it begins.

    Raises:
        ValueError: saying what is wrong.
    """
    if end < start:
        raise ValueError(f"begins on day {start} and ends before, on day {end}")
