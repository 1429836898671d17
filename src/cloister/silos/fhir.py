# SPDX-License-Identifier: Apache-2.0
"""FHIR R4 as a table: one row per resource of a type, and what its columns are made from."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from cloister.documents import Model
from cloister.documents.patterns import in_words
from cloister.names import ColumnName, Line
from cloister.silos.fhir_path import FhirPathText, parse_path
from cloister.silos.paths import PathText

_TYPE = in_words(r"^[A-Z][A-Za-z]{1,63}$", "the name of a FHIR resource, such as `Patient`")
_CODE = in_words(r"^[^\s|]+\|[^\s|]+( [^\s|]+)*$", "a code with its system, such as `http://loinc.org|8480-6`")

ResourceType = Annotated[str, StringConstraints(pattern=_TYPE)]
Code = Annotated[str, StringConstraints(pattern=_CODE, max_length=500)]

Value = Literal["number", "code", "words", "document", "narrative"]
Take = Literal["exists", "count", "first", "latest", "mean", "minimum", "maximum"]

REFERS_BY: dict[str, tuple[str, ...]] = {
    "Patient": ("subject", "patient", "beneficiary"),
    "Encounter": ("encounter", "context.encounter", "context"),
}
"""Where resources name the patient, or the encounter, that they are about, in the order in which they are tried."""


def _is_date_or_path(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        parse_path(text)
    return text


class FhirField(Model):
    """What one column is made from.

    Without `take` it is found in the row's own resource, or, where `resource` is given, in the one that the row's own
    refers to. With `take` it is made from all resources of that type that refer to the row's own.

    Attributes:
        path: what is found there.
        value: what a resource, or the component of an Observation that bears the code, has to say: its `number`
            (valueQuantity or valueInteger), its `code` or its `words` (valueCodeableConcept or valueString), the text
            of its attachments as a `document`, or its `narrative`.
        age_at: whole years from the patient's birthDate to that day: a date, or a path in the row's own resource.
        take: what is made of several.
        resource: type of the other resource.
        by: path of the reference, in the resource that refers.
        code: resources with one of these codes only, each `system|code`.
        where: resources only in which each path finds one of its texts.
        unit: of a number, as UCUM writes it; a quantity in another unit cannot be used.
        since: resources of that day or later only (UTC).
        until: resources of before that day only (UTC).
    """

    path: FhirPathText | None = None
    value: Value | None = None
    age_at: Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_is_date_or_path)] | None = (
        None
    )
    take: Take | None = None
    resource: ResourceType | None = None
    by: FhirPathText | None = None
    code: tuple[Code, ...] = Field(default=(), max_length=5000)
    where: dict[FhirPathText, tuple[Line, ...]] = Field(default_factory=dict, max_length=20)
    unit: Line | None = None
    since: date | None = None
    until: date | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        given = [key for key in ("path", "value", "age_at") if getattr(self, key) is not None]
        if self.take in ("exists", "count"):
            if given:
                raise ValueError(f"may not state `{given[0]}`, because it takes `{self.take}`")
        elif len(given) != 1:
            raise ValueError("needs exactly one of `path`, `value` and `age_at`")
        if self.take is not None and self.age_at is not None:
            raise ValueError(f"may not state `age_at`, because it takes `{self.take}`")
        if self.take in ("mean", "minimum", "maximum") and self.value not in (None, "number"):
            raise ValueError(f"may not state `value: {self.value}`, because it takes `{self.take}` and needs numbers")
        if self.unit is not None and self.value != "number":
            raise ValueError("may not state `unit`, because its `value` is not `number`")
        return self

    @model_validator(mode="after")
    def _chooses_only_among_several(self) -> Self:
        if self.take is None:
            for key in ("code", "where", "since", "until"):
                if getattr(self, key):
                    raise ValueError(f"may not state `{key}` without `take`")
        elif self.resource is None:
            raise ValueError("needs `resource`, because it has `take`")
        if self.by is not None and self.resource is None:
            raise ValueError("may not state `by` without `resource`")
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise ValueError("has an `until` that is not after its `since`")
        return self


class FhirConnector(Model):
    """A folder, or a file, of FHIR R4: NDJSON as bulk exports write it, and JSON bundles.

    Attributes:
        path: a folder whose `.ndjson`, `.ndjson.gz` and `.json` files are read, or one such file.
        resource: the type of which each resource is a row.
        fields: what each column is made from.
        maximum_broken_share: above this share, 0 to 1, of the resources of one type that are used and turn out to be no
            valid FHIR, or to refer to what is not in the export, the dataset is refused.
    """

    kind: Literal["fhir"]
    path: PathText
    resource: ResourceType
    fields: dict[ColumnName, FhirField] = Field(min_length=1, max_length=500)
    maximum_broken_share: float = Field(default=0.01, ge=0, le=1)

    @model_validator(mode="after")
    def _every_reference_is_known(self) -> Self:
        for name, field in self.fields.items():
            own = field.resource is None
            if field.age_at is not None and (self.resource if own else field.resource) != "Patient":
                raise ValueError(f"has a field `{name}` of an age, and only a Patient has one: state `resource`")
            target = self.resource if field.take is not None else field.resource
            if not own and field.by is None and target not in REFERS_BY:
                raise ValueError(f"has a field `{name}` that needs `by`: where a reference to `{target}` lies")
        return self
