# SPDX-License-Identifier: Apache-2.0
"""What one column says of a person of an OMOP cohort: from the person, or from events in a window of days.

Days are counted from the index event, which lies on day 0; both ends of a window belong to it. What a model is given,
a feature, may look at day 0 and before; what a model learns towards, an outcome, looks at the days after. The two are
different models here, so a feature that sees the future cannot be written down.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from cloister.documents import Model
from cloister.names import ColumnName

MAXIMUM_DAYS = 36_525
"""A hundred years: the furthest that a window reaches, in days."""

ConceptId = Annotated[int, Field(ge=1, le=2**31 - 1)]
Concepts = Annotated[tuple[ConceptId, ...], Field(max_length=1000)]
Day = Annotated[int, Field(ge=-MAXIMUM_DAYS, le=MAXIMUM_DAYS)]


class Domain(StrEnum):
    """A table of events of the CDM (https://ohdsi.github.io/CommonDataModel/cdm54.html)."""

    CONDITION = "condition"
    DRUG = "drug"
    PROCEDURE = "procedure"
    MEASUREMENT = "measurement"
    OBSERVATION = "observation"
    VISIT = "visit"
    DEATH = "death"


_WITH_VALUES = frozenset({Domain.MEASUREMENT, Domain.OBSERVATION})
_WITHOUT_CONCEPTS = frozenset({Domain.VISIT, Domain.DEATH})


class Events(Model):
    """Events of one kind.

    Attributes:
        domain: where they are recorded.
        concepts: standard concepts that count, by id. Visits and deaths all count where none is named.
        descendants: whether what the vocabulary holds to be a kind of one of them counts too (`concept_ancestor`).
    """

    model_config = ConfigDict(populate_by_name=True)

    domain: Domain
    concepts: Concepts = ()
    descendants: bool = False

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if not self.concepts and self.domain not in _WITHOUT_CONCEPTS:
            raise ValueError(f"needs `concepts`, because its domain is {self.domain.value}")
        if len(set(self.concepts)) < len(self.concepts):
            raise ValueError("names a concept twice")
        if self.descendants and not self.concepts:
            raise ValueError("asks for `descendants` of no concept")
        return self


class Window(Events):
    """Events in a window of days.

    Attributes:
        start: first day, counted from the index event.
        end: last day.
    """

    start: Day = Field(alias="from")
    end: Day = Field(alias="to")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"begins on day {self.start} and ends before, on day {self.end}")
        return self


class Values(Window):
    """Numbers that were recorded in a window of days.

    Attributes:
        unit: concept id of the only unit that counts, 0 for records that name none. Where it is not given all values
            must be in one unit, or the dataset is refused: a mean of kilograms and pounds is a number all the same.
    """

    unit: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None

    @model_validator(mode="after")
    def _has_values(self) -> Self:
        if self.domain not in _WITH_VALUES:
            raise ValueError(f"asks for values, and the domain {self.domain.value} records none")
        return self


class TimeTo(Events):
    """The first event after the index event, and how long it took.

    Attributes:
        start: first day on which one counts.
        end: day on which everybody is let go who had none; the end of observation where not given.
    """

    start: Day = Field(default=1, alias="from")
    end: Day | None = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end is not None and self.end < self.start:
            raise ValueError(f"begins on day {self.start} and ends before, on day {self.end}")
        return self


class _Definition(Model):
    """One key that says what a column holds, and nothing beside it."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        said = [self.key_of(name) for name in type(self).model_fields if getattr(self, name) is not None]
        if len(said) != 1:
            known = ", ".join(f"`{self.key_of(name)}`" for name in type(self).model_fields)
            raise ValueError(f"must say one of {known}, and says {' and '.join(said) or 'none'}")
        return self

    @classmethod
    def key_of(cls, name: str) -> str:
        """How the document writes the field ``name``."""
        return cls.model_fields[name].alias or name

    @property
    def said(self) -> tuple[str, Any]:
        """The one key, and what it says."""
        return next(
            (self.key_of(name), value) for name in type(self).model_fields if (value := getattr(self, name)) is not None
        )

    def _windows(self) -> list[Window]:
        return [value for name in type(self).model_fields if isinstance(value := getattr(self, name), Window)]


class Feature(_Definition):
    """What a model may be given; exactly one key.

    Attributes:
        person: the person's id in the CDM, or their sex: `male`, `female`, `other` or `unknown`.
        age: completed years on day 0.
        index: the date of day 0.
        happened: whether there is such an event.
        count: how many such records there are.
        latest: the last value; among those of one day the one with the latest time, then the highest id.
        mean: the mean of all values.
        minimum: the smallest value.
        maximum: the largest value.
    """

    person: Literal["id", "sex"] | None = None
    age: Literal["at-index"] | None = None
    index: Literal["date"] | None = None
    happened: Window | None = Field(default=None, alias="any")
    count: Window | None = None
    latest: Values | None = None
    mean: Values | None = None
    minimum: Values | None = Field(default=None, alias="min")
    maximum: Values | None = Field(default=None, alias="max")

    @model_validator(mode="after")
    def _sees_no_future(self) -> Self:
        for window in self._windows():
            if window.end > 0:
                raise ValueError(
                    f"looks at day {window.end}, after the index event, which no model is told;"
                    " what a model learns to foresee stands under `outcomes`"
                )
            if window.domain is Domain.DEATH:
                raise ValueError("looks for deaths before the index event; a death can only be an outcome")
        return self


class Outcome(_Definition):
    """What a model may learn to foresee, from the days after the index event; exactly one key.

    Only events up to the end of the observation period count, because later ones are recorded by chance.

    Attributes:
        happened: whether there is such an event; unknown where there is none and observation ends before the window.
        count: how many such records there are; unknown where observation ends before the window.
        latest: the last value, and so on, as of features; unknown where there is none.
        mean: the mean of all values.
        minimum: the smallest value.
        maximum: the largest value.
        time_to: days to the first event, or to the end of observation where there is none.
        event_of: whether the event of that `time_to` column was seen; else its days are censored.
    """

    happened: Window | None = Field(default=None, alias="any")
    count: Window | None = None
    latest: Values | None = None
    mean: Values | None = None
    minimum: Values | None = Field(default=None, alias="min")
    maximum: Values | None = Field(default=None, alias="max")
    time_to: TimeTo | None = None
    event_of: ColumnName | None = None

    @model_validator(mode="after")
    def _lies_ahead(self) -> Self:
        ahead: list[Window | TimeTo] = [*self._windows(), *([self.time_to] if self.time_to else [])]
        for window in ahead:
            if window.start < 1:
                raise ValueError(f"begins on day {window.start}; an outcome lies after the index event, from day 1 on")
        return self
