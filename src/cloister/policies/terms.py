# SPDX-License-Identifier: Apache-2.0
"""The sections of a policy that set terms: when, with what code, how private, what for the result, what exceptions."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from cloister.documents.patterns import in_words
from cloister.names import Line, PersonName, Sha256, Word
from cloister.policies.sections import Section

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_TIME = in_words(r"^([01][0-9]|2[0-3]):[0-5][0-9]$", "a time of day from 00:00 to 23:59, such as 08:30")
TimeOfDay = Annotated[str, StringConstraints(pattern=_TIME)]
WaivableRule = Literal["hours", "records", "classes", "training", "round-records", "update-size", "update-norm"]


class Hours(Section):
    """When a job may be admitted, trained and sent from, in UTC.

    Attributes:
        days: on which such a time begins.
        begin: `from`, hours and minutes, included.
        until: hours and minutes, not included; before `from` it lies on the next day.
    """

    days: tuple[Weekday, ...]
    begin: TimeOfDay = Field(alias="from")
    until: TimeOfDay

    @model_validator(mode="after")
    def _has_a_length(self) -> Self:
        if self.begin == self.until:
            raise ValueError("begins and ends at the same time; leave `hours` out where any time will do")
        return self


class CodeApproval(Section):
    """Training code that somebody has read and approved.

    Attributes:
        sha256: of the code, as `cloister policy approve-code` prints it.
        by: who approved it.
        until: last day on which it may run.
    """

    sha256: Sha256
    by: Line
    until: date


class CodeGrant(Section):
    """Training code of its own that a job may bring.

    Attributes:
        approved: each by its digest; no other may.
    """

    approved: tuple[CodeApproval, ...] = Field(max_length=1000)


def _kind_of_code(value: Any) -> str:
    return "mapping" if isinstance(value, dict | CodeGrant) else "word"


Code = Annotated[
    Annotated[Literal["forbidden"], Tag("word")] | Annotated[CodeGrant, Tag("mapping")], Discriminator(_kind_of_code)
]


class Privacy(Section):
    """The differential privacy that training must keep (Dwork and Roth, https://doi.org/10.1561/0400000042).

    Attributes:
        unit: what may change without the result telling: one record, or all records of one person.
        epsilon: the most that may be spent on one job.
        delta: the chance with which that may fail.
    """

    unit: Literal["record", "person"]
    epsilon: float = Field(gt=0, le=1000)
    delta: float = Field(ge=0, lt=1)


class Release(Section):
    """What must hold of a job's result before anybody gets it; one or more of the three.

    Attributes:
        minimum_sites: sites behind it.
        minimum_records: records to train on behind it, of all sites together.
        approved_by: people who must approve it.
    """

    minimum_sites: int | None = Field(default=None, ge=1, le=200)
    minimum_records: int | None = Field(default=None, ge=1, le=10**12)
    approved_by: tuple[PersonName, ...] | None = Field(default=None, max_length=100)

    @model_validator(mode="after")
    def _demands_something(self) -> Self:
        if self.minimum_sites is None and self.minimum_records is None and self.approved_by is None:
            raise ValueError("states none of `minimum_sites`, `minimum_records` and `approved_by`")
        return self


class Waiver(Section):
    """One rule's denials, by this document alone, that do not count for a while.

    Attributes:
        rule: its id; only rules about a time, a number or a size can be waived.
        reason: why, for whoever reviews it.
        by: who decided so.
        until: last day on which it counts.
        jobs: names of the jobs that it is for; every job where not given.
    """

    rule: WaivableRule
    reason: Line
    by: Line
    until: date
    jobs: tuple[Word, ...] | None = Field(default=None, max_length=100)
