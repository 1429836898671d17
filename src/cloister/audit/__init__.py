# SPDX-License-Identifier: Apache-2.0
"""The audit log: what was decided, released and changed, in a chain that cannot be edited unseen."""

from cloister.audit.checkpoint import Notary
from cloister.audit.compare import Row, Verdict, compare
from cloister.audit.event import FACTS, Entry, Event, Fact, Kind
from cloister.audit.export import FORMATS, to_cef
from cloister.audit.log import FILE, Log, entries, lines
from cloister.audit.verify import Broken, Report, verify

__all__ = [
    "FACTS",
    "FILE",
    "FORMATS",
    "Broken",
    "Entry",
    "Event",
    "Fact",
    "Kind",
    "Log",
    "Notary",
    "Report",
    "Row",
    "Verdict",
    "compare",
    "entries",
    "lines",
    "to_cef",
    "verify",
]
