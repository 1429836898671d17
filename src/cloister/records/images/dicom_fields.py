# SPDX-License-Identifier: Apache-2.0
"""An attribute of a DICOM header as the text of one cell (PS3.5, 6.2), to be read as its column declares.

1. Dates and moments become ISO 8601. An age becomes years, of 12 months, 52.1775 weeks or 365.25 days.
2. An age above 89 becomes 90, as the safe harbour of 45 CFR 164.514(b)(2)(i)(C) has it: the oldest are few enough to be
   known by their age.
3. Several values stand with a backslash between, as DICOM writes them. What is not written as it should be is passed on
   as it is, and breaks what the column declares.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import DA, DT

_OLDEST = 89
_AGE = re.compile(r"^([0-9]{3})([DWMY])$")
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 1 / 52.1775, "D": 1 / 365.25}
_MAXIMUM_CHARACTERS = 1024  # the longest value that is no free text has 64 characters, a person name 5 × 64


def cell_of(header: Dataset, keyword: str) -> str | None:
    """The attribute called ``keyword`` as a cell; None where it is missing or empty."""
    if keyword not in header:
        return None
    raw = header.get_item(keyword)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote the value
        try:
            element = header[keyword]
            values = element.value if isinstance(element.value, MultiValue | list | tuple) else [element.value]
            text = "" if element.is_empty else "\\".join(_text(value, element.VR) for value in values)
        except Exception:  # noqa: BLE001 - whatever pydicom says of a value that is not written as it should be
            text = bytes(raw.value or b"").decode("latin-1")
    return text[:_MAXIMUM_CHARACTERS].strip("\x00 ") or None


def _text(value: Any, representation: str) -> str:
    if isinstance(value, float):
        return _shortest(value)
    text = str(value).strip("\x00 ")
    if representation == "AS":
        return _age(text)
    if representation in ("DA", "DT"):
        return _moment(text, representation)
    return text


def _age(text: str) -> str:
    found = _AGE.match(text)
    if found is None:
        return text
    years = int(found[1]) * _YEARS[found[2]]
    return _shortest(_OLDEST + 1.0 if years > _OLDEST else round(years, 4))


def _shortest(value: float) -> str:
    """Whole numbers without a fraction, so that a column of whole numbers may hold them."""
    return str(int(value)) if value.is_integer() else repr(float(value))


def _moment(text: str, representation: str) -> str:
    try:
        found = DA(text) if representation == "DA" else DT(text)
    except (ValueError, TypeError):
        return text
    return found.isoformat() if found is not None else text
