# SPDX-License-Identifier: Apache-2.0
"""The audit log: what was decided, released and changed, in a chain that cannot be edited unseen."""

from cloister.audit.checkpoint import Notary
from cloister.audit.compare import ERROR, UNREADABLE, Row, Verdict, compare
from cloister.audit.event import FACTS, Entry, Event, Fact, Kind
from cloister.audit.export import FORMATS, to_cef
from cloister.audit.last_checkpoint import LastCheckpoint
from cloister.audit.log import FILE, FOLDER, Log
from cloister.audit.own_log import verify_own
from cloister.audit.reader import Unreadable, entries, every_line, lines
from cloister.audit.verify import Broken, Report, verify

__all__ = [
    "ERROR",
    "FACTS",
    "FILE",
    "FOLDER",
    "FORMATS",
    "UNREADABLE",
    "Broken",
    "Entry",
    "Event",
    "Fact",
    "Kind",
    "LastCheckpoint",
    "Log",
    "Notary",
    "Report",
    "Row",
    "Unreadable",
    "Verdict",
    "compare",
    "entries",
    "every_line",
    "lines",
    "to_cef",
    "verify",
    "verify_own",
]
