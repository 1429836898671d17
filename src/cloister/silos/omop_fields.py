# SPDX-License-Identifier: Apache-2.0
"""What one column says of a person of an OMOP cohort: from the person, or from events in a window of days.

Days are counted from the index event, which lies on day 0; both ends of a window belong to it. What a model is given,
a feature, may look at day 0 and before; what a model learns towards, an outcome, looks at the days after. The two are
different models here, so a feature that sees the future cannot be written down.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cloister.documents import Model
from cloister.names import ColumnName
from cloister.silos.omop_events import Concepts, Day, Domain, Look, check_concepts, check_order

UnitId = Annotated[int, Field(ge=0, le=2**31 - 1)]

OF_VALUES = frozenset({"latest", "mean", "minimum", "maximum"})
"""What is taken of values; the rest is taken of records."""

_WITH_VALUES = frozenset({Domain.MEASUREMENT, Domain.OBSERVATION})


class _Taken(Model):
    """What may be taken of a person's events.

    Attributes:
        domain: where they are recorded.
        concepts: standard concepts that count, by id. Visits and deaths all count where none is named.
        descendants: whether what the vocabulary holds to be a kind of one of them counts too (`concept_ancestor`).
        start: first day of the window.
        end: last day of the window.
        unit: of values, concept id of the only unit that counts, 0 for records that name none. Where it is not given
            all values must be in one unit, or the dataset is refused: a mean of kilograms and pounds is a number, too.
    """

    domain: Domain | None = None
    concepts: Concepts = ()
    descendants: bool = False
    start: Day | None = Field(default=None, alias="from")
    end: Day | None = Field(default=None, alias="to")
    unit: UnitId | None = None

    def _check_taken(self, take: str | None) -> None:
        """Check that these keys are said with `take`, and no others.

        Raises:
            ValueError: saying what is wrong.
        """
        if take is None:
            fields = {name: type(self).model_fields[name] for name in _Taken.model_fields}
            said = [field.alias or name for name, field in fields.items() if getattr(self, name) != field.default]
            if said:
                raise ValueError(f"states `{said[0]}` and no `take`, which says what is made of the events")
            return
        if self.domain is None:
            raise ValueError(f"needs `domain`, where it takes `{take}`")
        check_concepts(self.domain, self.concepts, descendants=self.descendants)
        if take in OF_VALUES and self.domain not in _WITH_VALUES:
            raise ValueError(f"takes `{take}` of values, and the domain {self.domain.value} records none")
        if take not in OF_VALUES and self.unit is not None:
            raise ValueError(f"may not state `unit`, because it takes `{take}`, which is the same in every unit")

    def _looked(self, start: int) -> Look:
        domain = self.domain or Domain.VISIT  # which `_check_taken` has seen to
        return Look(domain, self.concepts, self.descendants, start, self.end, self.unit)


class Feature(_Taken):
    """What a model may be given: one of `person`, `age`, `index` and `take`, and with the last what it is taken of.

    Attributes:
        person: the person's id in the CDM, or their sex: `male`, `female`, `other` or `unknown`.
        age: completed years on day 0.
        index: the date of day 0.
        take: whether there is such an event (`exists`), how many records there are (`count`), or what their values
            are: the `latest` (among those of one day the one with the latest time, then the highest id), their `mean`,
            `minimum` or `maximum`.
    """

    person: Literal["id", "sex"] | None = None
    age: Literal["at-index"] | None = None
    index: Literal["date"] | None = None
    take: Literal["exists", "count", "latest", "mean", "minimum", "maximum"] | None = None

    @model_validator(mode="after")
    def _sees_no_future(self) -> Self:
        _says_one(self, ("person", "age", "index", "take"))
        self._check_taken(self.take)
        if self.take is None:
            return self
        if self.start is None or self.end is None:
            raise ValueError("needs `from` and `to`, the first and the last day that are looked at")
        check_order(self.start, self.end)
        if self.end > 0:
            raise ValueError(
                f"looks at day {self.end}, after the index event, which no model is told;"
                " what a model learns to foresee stands under `outcomes`"
            )
        if self.domain is Domain.DEATH:
            raise ValueError("looks for deaths before the index event; a death can only be an outcome")
        return self

    @property
    def look(self) -> Look | None:
        """The events that it is taken of."""
        return None if self.take is None or self.start is None else self._looked(self.start)


class Outcome(_Taken):
    """What a model may learn to foresee, from the days after the index event: one of `take` and `event_of`.

    Only events up to the end of the observation period count, because later ones are recorded by chance.

    Attributes:
        take: as of features. `exists` is unknown where there is no such event and observation ends before the window,
            `count` is unknown where it does, values are unknown where there is none. `time-to` is the number of days to
            the first such event, or to the end of observation, or of the window, where there is none.
        event_of: whether the event of that `time-to` column was seen; else its days are censored.
    """

    take: Literal["exists", "count", "latest", "mean", "minimum", "maximum", "time-to"] | None = None
    event_of: ColumnName | None = None
    start: Day = Field(default=1, alias="from")

    @model_validator(mode="after")
    def _lies_ahead(self) -> Self:
        _says_one(self, ("take", "event_of"))
        self._check_taken(self.take)
        if self.start < 1:
            raise ValueError(f"begins on day {self.start}; an outcome lies after the index event, from day 1 on")
        if self.end is not None:
            check_order(self.start, self.end)
        elif self.take not in (None, "time-to"):
            raise ValueError(f"needs `to`, the last day that is looked at, where it takes `{self.take}`")
        return self

    @property
    def look(self) -> Look | None:
        """The events that it is taken of."""
        return None if self.take is None else self._looked(self.start)


def _says_one(model: Model, keys: tuple[str, ...]) -> None:
    said = [key for key in keys if getattr(model, key) is not None]
    if len(said) != 1:
        known = ", ".join(f"`{key}`" for key in keys)
        raise ValueError(f"must say one of {known}, and says {' and '.join(f'`{key}`' for key in said) or 'none'}")
