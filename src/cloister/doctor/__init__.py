# SPDX-License-Identifier: Apache-2.0
"""What is wrong here, before anybody is called: for a site, the server and a person.

Each subject has its own file: probes look at the outside and bring home frozen values, and pure functions make findings
of those. `probe` sees to it that every look ends, and that one which fails is told as such.
"""

from cloister.doctor.codes import CODES, Code, Level, Topic
from cloister.doctor.examination import THIS_MACHINE, examine
from cloister.doctor.finding import Finding, Section
from cloister.doctor.here import Here, ServerState, asked_for

__all__ = [
    "CODES",
    "THIS_MACHINE",
    "Code",
    "Finding",
    "Here",
    "Level",
    "Section",
    "ServerState",
    "Topic",
    "asked_for",
    "examine",
]
