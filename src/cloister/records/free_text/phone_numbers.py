# SPDX-License-Identifier: Apache-2.0
"""Telephone numbers, by the kept library `phonenumbers` and as Presidio's recogniser asks it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import phonenumbers
import regex

REGIONS = ("US", "GB", "DE", "FR", "IL", "IN", "CA", "BR")
"""Countries whose numbers are known without a country's code: Presidio's."""

REGIONS_OF_LONG_LISTS = REGIONS[:1]
"""The same where more digits stand in a row than a number and its neighbour have, as in a table of measurements."""

PHONE_NUMBER_SCORE = 0.4
"""How sure a number is: Presidio's."""

_VALID = phonenumbers.Leniency.VALID
_SOME_DIGITS = regex.compile(r"[+(\[]{0,3}\d(?:[ x()\[\]./~+\-]{0,4}\d){5,}+")
_DECIMALS = regex.compile(r"\D*\d{1,3}\.\d{1,4} ?- ?\d{1,3}\.\d{1,4}\D*")  # an interval, as in `1.7 (0.69-4.27)`
_LONG = 80  # characters
_BEFORE, _BEHIND = 8, 24  # characters: a sign or a bracket before, an extension behind


def phone_numbers(text: str, deadline: float) -> Iterator[tuple[int, int]]:
    """Where numbers of six digits or more stand in ``text``.

    Args:
        text: without digits of other scripts.
        deadline: `time.thread_time` at which to give up, in seconds.

    Raises:
        TimeoutError: at the deadline.
    """
    for found in _SOME_DIGITS.finditer(text):
        start = max(0, found.start() - _BEFORE)
        piece = text[start : found.end() + _BEHIND]
        for region in REGIONS if found.end() - found.start() < _LONG else REGIONS_OF_LONG_LISTS:
            # The library gives up a text after so many tries, silently, and its own bound is below ours.
            for match in phonenumbers.PhoneNumberMatcher(piece, region, leniency=_VALID, max_tries=len(piece) + 1):
                if not _DECIMALS.fullmatch(match.raw_string):
                    yield start + match.start, start + match.end
            if time.thread_time() > deadline:
                raise TimeoutError
