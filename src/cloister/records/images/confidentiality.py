# SPDX-License-Identifier: Apache-2.0
"""DICOM's Basic Application Level Confidentiality Profile (PS3.15, Annex E), and what it means here.

A view holds no DICOM header at all, so nothing of one has to be cleaned. The profile decides three things:

1. Which attributes may fill a column that a job can ask for. One that the profile removes, empties or replaces may fill
   a column of kind identifier only, unless an option of the profile keeps it and the silo document uses that option.
   What the profile says nothing about is kept, and may fill a column of numbers, of truth values, or of declared
   categories: never one of free text, where anything may have been written.
2. Which pictures may have text burned in, such as a name: those that say so; and secondary captures, ultrasound and
   saved screens, unless they say that they have none.
3. What is counted of a header, as names of attributes and never as values.

`basic_profile.csv` is Table E.1-1 of PS3.15 2026c: the column of the basic profile, and K where the options "Retain
Patient Characteristics" and "Retain Longitudinal Temporal Information with Full Dates" keep an attribute. The actions
are those that dicom-anonymizer 2.1.0 lists for 2026c. For the 619 attributes that idiscore 1.2.0 read from the standard
on its own in 2024 it has the same actions, and the options are from there: what the standard added since has none, so
that no option keeps it.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from cloister.errors import RecordsError
from cloister.records.images.dicom_file import class_of, is_sequence
from cloister.silos import Column, ColumnKind

PATIENT_CHARACTERISTICS, FULL_DATES = "patient-characteristics", "full-dates"
PRIVATE = "private attributes"
"""Under which name attributes of a maker's own are counted; the profile removes all of them (E.3.10)."""

_NUMBERS = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV", "AS"})
_WORDS = frozenset({"CS", "LO", "SH"})
_BY_VR = {
    **dict.fromkeys(_NUMBERS, (ColumnKind.NUMBER, ColumnKind.INTEGER, ColumnKind.CATEGORY)),
    **dict.fromkeys(_WORDS, (ColumnKind.CATEGORY, ColumnKind.BOOLEAN)),
    "DA": (ColumnKind.DATE,),
    "DT": (ColumnKind.DATE, ColumnKind.TIMESTAMP),
}
"""The kinds of column that an attribute may fill, once the profile lets it, by how its values are written."""
_ONE_CELL = frozenset({*_BY_VR, "AE", "LT", "PN", "ST", "TM", "UC", "UI", "UR", "UT"})

_CAPTURES = ("Secondary Capture", "Ultrasound")
_SCREENS = ("SCREEN SAVE", "SCREEN SHOT")


@dataclass(frozen=True)
class Action:
    """One row of Table E.1-1.

    Attributes:
        tag: eight hexadecimal digits in upper case; X stands for any digit.
        keyword: of the attribute.
        basic: what the basic profile does: X remove, Z empty, D replace, U replace by another UID, or one of several.
        kept_by: the options that keep it.
    """

    tag: str
    keyword: str
    basic: str
    kept_by: frozenset[str]


@cache
def table() -> Mapping[str, Action]:
    """The rows of the table, by tag."""
    with (files("cloister.records.images") / "basic_profile.csv").open(encoding="utf-8") as stream:
        return {row["tag"]: _action(row) for row in csv.DictReader(stream)}


def _action(row: dict[str, str]) -> Action:
    options = {PATIENT_CHARACTERISTICS: row["patient_characteristics"], FULL_DATES: row["full_dates"]}
    return Action(
        row["tag"],
        row["keyword"],
        row["basic_profile"],
        frozenset(name for name, word in options.items() if word == "K"),
    )


def action_on(tag: BaseTag) -> Action | None:
    """What the profile does about an attribute of the standard; None where it keeps it."""
    digits = f"{int(tag):08X}"
    group, element = digits[:4], digits[4:]
    for form in (digits, f"{group[:2]}XX{element}", f"{group[:2]}XXXXXX"):
        if form in table():
            return table()[form]
    return None


def check_field(name: str, column: Column, keyword: str, retain: tuple[str, ...], shown: str) -> None:
    """Check that an attribute of a header may fill a column.

    Args:
        name: of the column.
        column: as the silo document declares it.
        keyword: of the attribute.
        retain: the options of the profile that the silo document uses.
        shown: how the silo document names the store.

    Raises:
        RecordsError: where it may not, or there is no such attribute.
    """
    where = f"column `{name}` of `{shown}`"
    found = tag_for_keyword(keyword)
    if found is None:
        raise RecordsError(
            f"{where} is filled from `{keyword}`, which DICOM does not know", hint="keywords are in PS3.6"
        )
    representation = dictionary_VR(found)
    if representation not in _ONE_CELL:
        raise RecordsError(f"{where} is filled from `{keyword}`, which holds no single value")
    if column.kind is ColumnKind.IDENTIFIER:
        return
    action = action_on(Tag(found))
    if action is not None and not action.kept_by & set(retain):
        hint = "declare the column as an identifier"
        if action.kept_by:
            hint += f", or add `{min(action.kept_by)}` to `retain`"
        what = "DICOM's basic confidentiality profile does not keep"
        raise RecordsError(f"{where} is filled from `{keyword}`, which {what}", hint=hint)
    allowed = _BY_VR.get(representation, ())
    if column.kind not in allowed:
        kinds = " or ".join(sorted(kind.value for kind in (*allowed, ColumnKind.IDENTIFIER)))
        raise RecordsError(
            f"{where} is filled from `{keyword}`, and is of kind {column.kind.value}", hint=f"use {kinds}"
        )


def may_have_text(header: Dataset) -> bool:
    """Whether a picture may have text burned in, by what its header says (PS3.3 C.7.6.1; PS3.15 E.3.1)."""
    stated = str(header.get("BurnedInAnnotation") or "").strip().upper()
    if stated in ("YES", "NO"):
        return stated == "YES"
    if stated:  # anything else is no answer
        return True
    kind = class_of(header)
    if kind is None or any(word in kind.name for word in _CAPTURES):
        return True
    if str(header.get("Modality") or "").strip().upper() == "US":
        return True
    said = " ".join(map(str, _each(header.get("ImageType")))).upper().replace("_", " ")
    return any(word in said for word in _SCREENS)


def findings(header: Dataset) -> Counter[str]:
    """How many attributes of each keyword the basic profile would remove, empty or replace, also inside sequences.

    What is empty is not counted, and neither is the file meta group, which is made anew for every file.
    """
    found: Counter[str] = Counter()
    for tag in list(header.keys()):
        action = action_on(tag)
        if tag.is_private:
            found[PRIVATE] += 1
        elif action is not None:
            found[action.keyword] += bool(header.get_item(tag).value)
        elif is_sequence(header, tag):
            for item in header[tag].value:
                found += findings(item)
    return +found


def _each(value: object) -> tuple[object, ...]:
    if value is None or isinstance(value, str):
        return (value or "",)
    return tuple(value) if hasattr(value, "__iter__") else (value,)
