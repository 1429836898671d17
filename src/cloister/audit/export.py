# SPDX-License-Identifier: Apache-2.0
"""The log for a SIEM: JSON lines as they are, or CEF.

CEF is ArcSight's Common Event Format, version 0 of the format (Micro Focus, "Implementing ArcSight Common Event
Format", version 25): a header of seven fields, each closed by a bar, then the extension, which is `key=value` pairs. In
the header a backslash and a bar are escaped, in a value a backslash, an equals sign and a line's end. Keys of our own
are letters and digits.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from cloister.audit.event import Entry, Fact, Kind

_NAMES = MappingProxyType(
    {
        Kind.START: "Process started",
        Kind.STOP: "Process stopped",
        Kind.KEY: "Key or certificate changed",
        Kind.POLICY: "Policy in force",
        Kind.DECISION: "Decision on a job",
        Kind.VIEW: "Governed view written",
        Kind.PREVIEW: "Records shown to a person",
        Kind.RELEASE: "Data released",
        Kind.RECEIVE: "Data received",
        Kind.RESULT: "Result written",
        Kind.FAILURE: "Failure",
        Kind.CHECKPOINT: "Log signed",
        Kind.TORN: "Torn line set aside",
    }
)
_LOW, _MEDIUM, _HIGH = 2, 5, 7  # of 0 to 10
_MAXIMUM_VALUE = (
    1023  # characters as written, escapes included: what CEF allows for `msg`, the longest of its text fields
)
_ESCAPES = MappingProxyType({"\\": "\\\\", "=": "\\=", "\n": "\\n", "\r": "\\r"})


def to_json(entry: Entry) -> str:
    """The entry's line as it is in the log, without its newline."""
    return entry.line().decode().rstrip("\n")


def to_cef(entry: Entry, version: str) -> str:
    """The entry as one line of CEF.

    Args:
        entry: what to write.
        version: Cloister's own, for the header.
    """
    event = entry.event
    header = ("Cloister", "cloister", version, event.kind.value, _NAMES[event.kind], str(_severity(entry)))
    pairs: dict[str, Fact] = {
        "rt": int(event.time.timestamp() * 1000),
        "dvchost": event.participant,
        "externalId": event.sequence,
    }
    if event.job:
        pairs |= {"cs1Label": "job", "cs1": event.job}
    if event.round:
        pairs |= {"cn1Label": "round", "cn1": event.round}
    pairs |= {"cs2Label": "hash", "cs2": entry.hash}
    # A checkpoint's envelope is for `audit verify`, which reads the log itself; it is longer than a field may be.
    pairs |= {_key(name): fact for name, fact in sorted(event.facts.items()) if name != "envelope"}
    extension = " ".join(f"{key}={_value(fact)}" for key, fact in pairs.items())
    return "CEF:0|" + "|".join(map(_in_header, header)) + "|" + extension


FORMATS: MappingProxyType[str, Callable[[Entry, str], str]] = MappingProxyType(
    {"json": lambda entry, _version: to_json(entry), "cef": to_cef}
)
"""What a log can be exported as."""


def _severity(entry: Entry) -> int:
    event = entry.event
    if event.kind in (Kind.FAILURE, Kind.TORN):
        return _HIGH
    return _MEDIUM if event.facts.get("effect") == "deny" else _LOW


def _key(name: str) -> str:
    return "cloister" + "".join(part.capitalize() for part in name.split("_"))


def _in_header(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def _value(fact: Fact) -> str:
    text = ", ".join(map(_word, fact)) if isinstance(fact, tuple) else _word(fact)
    written = ""
    for character in text:
        escaped = _ESCAPES.get(character, character)
        if len(written) + len(escaped) > _MAXIMUM_VALUE:  # no escape is cut in two
            break
        written += escaped
    return written


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
