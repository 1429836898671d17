# SPDX-License-Identifier: Apache-2.0
"""What any FHIR resource says of itself: its code, its moment, to whom it refers, whether it was withdrawn."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cloister.records.fhir.path import Resource, values
from cloister.silos.fhir_path import Step, parse_path

# Where a type's own code lies, where that is not `code`.
_CODES = {
    "Appointment": ("appointmentType",),
    "CarePlan": ("category",),
    "Coverage": ("type",),
    "DocumentReference": ("type",),
    "Encounter": ("type",),
    "ExplanationOfBenefit": ("type",),
    "Claim": ("type",),
    "Immunization": ("vaccineCode",),
    "MedicationAdministration": ("medicationCodeableConcept",),
    "MedicationDispense": ("medicationCodeableConcept",),
    "MedicationRequest": ("medicationCodeableConcept",),
    "MedicationStatement": ("medicationCodeableConcept",),
    "Specimen": ("type",),
}

# When something was so, in the order in which they are tried: what was observed before when it was written down.
_MOMENTS = tuple(
    parse_path(path)
    for path in (
        "effectiveDateTime",
        "effectiveInstant",
        "effectivePeriod.start",
        "onsetDateTime",
        "onsetPeriod.start",
        "performedDateTime",
        "performedPeriod.start",
        "occurrenceDateTime",
        "occurrencePeriod.start",
        "authoredOn",
        "whenHandedOver",
        "period.start",
        "billablePeriod.start",
        "context.period.start",
        "started",
        "date",
        "recordedDate",
        "issued",
        "created",
    )
)

_REFERENCE = re.compile(r"(?:(https?://[^\s?#]*)/)?([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]+)?")
_URN = re.compile(r"urn:(?:uuid|oid):[A-Za-z0-9.-]+")
_PARTIAL = re.compile(r"([0-9]{4})(?:-([0-9]{2}))?")

_NOT_DONE = frozenset({"not-done", "not-taken", "cancelled", "declined"})
"""What `status` says of what was meant to be and never was."""


class Key(NamedTuple):
    """How a resource is referred to.

    Attributes:
        type: its type; None where the reference does not say.
        text: `Type/id`, or a bundle's `urn:uuid:…`.
        server: where that id counts; None where the reference does not say.
    """

    type: str | None
    text: str
    server: str | None = None


class Moment(NamedTuple):
    """When something was so, UTC.

    Attributes:
        text: its beginning, which sorts by time.
        last_day: the last day that may be meant: a year or a month may mean any of its days.
    """

    text: str
    last_day: str

    @property
    def first_day(self) -> str:
        """The first day that may be meant."""
        return self.text[:10]


def keys_of(resource: Resource, full_url: str | None) -> list[str]:
    """All names by which others may refer to ``resource``, the first of them its own; none where it has no name."""
    found = []
    if isinstance(identity := resource.get("id"), str) and identity:
        # An id that is no text in Unicode is no valid one either, which is found out later.
        found.append(f"{resource['resourceType']}/{identity.encode(errors='backslashreplace').decode()}")
    if full_url is not None and (key := _key(full_url)) is not None and key.text not in found:
        found.append(key.text)
    return found


def server_of(full_url: str | None) -> str | None:
    """The server that an entry's address names, if it names one."""
    key = None if full_url is None else _key(full_url)
    return None if key is None else key.server


def references(by: Iterable[tuple[Step, ...]], resource: Resource) -> list[Key]:
    """To whom ``resource`` refers, by the first of the paths that finds any reference; each once."""
    for steps in by:
        texts = [node.get("reference") for node in values(steps, resource) if isinstance(node, dict)]
        found = [key for text in texts if isinstance(text, str) and (key := _key(text)) is not None]
        if found:
            return list(dict.fromkeys(found))
    return []


def _key(reference: str) -> Key | None:
    if match := _REFERENCE.fullmatch(reference):
        return Key(match[2], f"{match[2]}/{match[3]}", match[1])
    # Case does not count in a URN of either kind (RFC 8141, 3.1; RFC 4122, 3).
    return Key(None, reference.lower()) if _URN.fullmatch(reference) else None


def bears_code(node: Resource, elements: Iterable[str], codes: frozenset[str]) -> bool:
    """Whether one of the CodeableConcepts in ``elements`` of ``node`` has one of ``codes``, each `system|code`.

    Something that is there and is no CodeableConcept is said to bear them: so it is looked at, and found to be broken.
    """
    for element in elements:
        concept = node.get(element)
        if concept is None:
            continue
        for each in concept if isinstance(concept, list) else [concept]:
            codings = each.get("coding", []) if isinstance(each, dict) else None
            if not isinstance(codings, list) or not all(isinstance(coding, dict) for coding in codings):
                return True
            if any(f"{coding.get('system')}|{coding.get('code')}" in codes for coding in codings):
                return True
    return False


def code_elements(kind: str) -> tuple[str, ...]:
    """Where resources of that type say what they are of."""
    return _CODES.get(kind, ("code",))


def is_withdrawn(resource: Resource) -> bool:
    """Whether it says that it never was so: entered in error, or a condition that was refuted."""
    if resource.get("status") == "entered-in-error":
        return True
    codes = values(_VERIFICATION, resource)
    return "entered-in-error" in codes or "refuted" in codes


def is_undone(resource: Resource) -> bool:
    """Whether it says that something was not done, or is not to be."""
    return resource.get("status") in _NOT_DONE or resource.get("doNotPerform") is True


def is_modified(resource: Resource) -> bool:
    """Whether an extension changes what the rest means, in a way that nobody here knows.

    Whoever does not understand one may not use what it stands in (https://hl7.org/fhir/R4/extensibility.html#modifierExtension).
    """
    nodes: list[Any] = [resource]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if node.get("modifierExtension"):
                return True
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node
    return False


_VERIFICATION = parse_path("verificationStatus.coding.code")


def moment_of(resource: Resource) -> Moment | None:
    """When it was so; None where unsaid."""
    for steps in _MOMENTS:
        for value in values(steps, resource):
            moment = _moment(value)
            if moment is not None:
                return moment
    return None


def _moment(value: Any) -> Moment | None:
    if not isinstance(value, str):
        return None
    partial = _PARTIAL.fullmatch(value)
    try:
        moment = datetime.fromisoformat(f"{partial[1]}-{partial[2] or '01'}-01" if partial else value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    text = moment.strftime("%Y-%m-%dT%H:%M:%S.%f").rjust(26, "0")
    if not partial:
        return Moment(text, text[:10])
    month = int(partial[2] or 12)
    return Moment(text, f"{partial[1]}-{month:02}-{calendar.monthrange(moment.year, month)[1]}")
