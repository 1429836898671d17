# SPDX-License-Identifier: Apache-2.0
"""A project file on its way into documents: decisions on one side, on the other what cannot be decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cloister.documents import Document
from cloister.documents.source import KeyPath, quoted
from cloister.errors import Problem
from cloister.nvflare_project.changes import Ledger
from cloister.nvflare_project.choices import Choices
from cloister.nvflare_project.model import Project
from cloister.nvflare_project.names import UnfitNameError


@dataclass
class Progress:
    """What is known so far; problems are collected, so that one reading tells all of them.

    Attributes:
        document: the project file.
        choices: what somebody decided beforehand.
        ledger: what became of each line.
        problems: what the documents cannot hold.
    """

    document: Document[Project]
    choices: Choices
    ledger: Ledger = field(init=False)
    problems: list[Problem] = field(default_factory=list)
    _taken: dict[tuple[str, str], tuple[str, KeyPath]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tree = self.document.value.model_dump(exclude_unset=True)
        self.ledger = Ledger(self.document.source, tree)

    @property
    def project(self) -> Project:
        """What the file says."""
        return self.document.value

    def line(self, *path: str | int) -> int:
        """Where ``path`` stands in the file."""
        return self.document.source.line(path)

    def problem(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Note what cannot be kept, changed or dropped."""
        self.problems.append(Problem(self.document.source.file, self.line(*path), message, hint))

    def name(self, path: KeyPath, was: str, fitting: Callable[[str], str], *, kind: str) -> str:
        """What ``was``, which stands at ``path``, is called here; empty where that is a problem.

        Args:
            path: where the name stands.
            was: the name in the project file.
            fitting: what makes of it a name here.
            kind: among which names it must be the only one: `participant`, `organisation` or `project`.
        """
        asked = self.choices.names.get(was) if kind == "participant" else None
        try:
            now = fitting(asked or was)
        except UnfitNameError as error:
            self.problem(path, f"the {kind} {quoted(asked or was)} cannot be called so here: {error}", _remedy(kind))
            return ""
        if asked is not None and now != asked:
            self.problem(path, f"{quoted(asked)} is no name here; it would be `{now}`", "write it as it is to be")
            return ""
        before, place = self._taken.setdefault((kind, now), (was, path))
        line = self.line(*place)
        if kind == "participant" and before == was and place != path:
            message = f"{quoted(was)} is the name of a participant on line {line} as well"
            self.problem(path, message, "NVFlare refuses that too; every name stands for one participant")
            return ""
        if before != was:
            message = f"the {kind} {quoted(was)} and {quoted(before)} on line {line} would both be `{now}` here"
            self.problem(path, message, _remedy(kind))
            return ""
        if now == was:
            self.ledger.keep(*path, became=now)
        else:
            why = "as was asked" if asked else "names here are lower-case letters, digits and hyphens"
            self.ledger.change(*path, became=now, why=why)
        return now


def _remedy(kind: str) -> str:
    if kind == "participant":
        return "say what it is to be called with --rename OLD=NEW"
    return f"change the {kind} in a copy of the project file, and import that"
