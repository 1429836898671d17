# SPDX-License-Identifier: Apache-2.0
"""What was found: a code, how grave it is, what is wrong and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from cloister.doctor.codes import CODES, Level, Topic


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        code: what it is called in docs/doctor.md, such as `D0301`.
        message: one sentence, lower case, without full stop.
        hint: what to do; empty where there is nothing to do.
    """

    code: str
    message: str
    hint: str = ""

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(self.code)

    @property
    def level(self) -> Level:
        """How grave it is; the code decides."""
        return CODES[self.code].level


@dataclass(frozen=True)
class Section:
    """What was found of one subject.

    Attributes:
        name: of the participant; `this machine` for what concerns all who are on it.
        kind: `machine`, `server`, `site` or `person`.
        findings: in the order in which they were looked for.
    """

    name: str
    kind: str
    findings: tuple[Finding, ...]

    def count(self, level: Level) -> int:
        """How many findings are of ``level``."""
        return sum(finding.level is level for finding in self.findings)


def in_order(topic: Topic, message: str) -> Finding:
    """Nothing is wrong with ``topic``."""
    return Finding(topic.code(0), message)


def unchecked(topic: Topic, what: str, reason: str, hint: str = "") -> Finding:
    """What stands for ``what`` where nobody can tell how it is; never taken for being in order."""
    return Finding(topic.code(99), f"{what} could not be checked: {reason}", hint)
