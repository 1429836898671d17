# SPDX-License-Identifier: Apache-2.0
"""What became of each line of a project file: nothing that somebody wrote goes without a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cloister.documents import KeyPath, Source


class Outcome(StrEnum):
    """What became of a line."""

    KEPT = "kept"
    CHANGED = "changed"
    DROPPED = "dropped"


@dataclass(frozen=True)
class Change:
    """One key of the project file.

    Attributes:
        line: 1-based line.
        key: which key, as people find it.
        written: what stands there; empty for a mapping or a list.
        outcome: what became of it.
        became: where it stands now, or what stands there; empty where it was dropped.
        why: the reason; empty where it was kept.
    """

    line: int
    key: str
    written: str
    outcome: Outcome
    became: str = ""
    why: str = ""


class Ledger:
    """Decisions about key paths, and from them one line about each key.

    Attributes:
        source: where each key stands.
        tree: what the file says, as plain values.
    """

    def __init__(self, source: Source, tree: Mapping[str, Any]) -> None:
        self.source = source
        self.tree = tree
        self._decided: dict[KeyPath, tuple[Outcome, str, str]] = {}

    def keep(self, *path: str | int, became: str = "") -> None:
        """Say that what stands at ``path`` stands in the documents as it is."""
        self._decided[path] = (Outcome.KEPT, became, "")

    def change(self, *path: str | int, became: str, why: str) -> None:
        """Say that the documents hold something else for what stands at ``path``."""
        self._decided[path] = (Outcome.CHANGED, became, why)

    def drop(self, *path: str | int, why: str) -> None:
        """Say that the documents hold nothing for what stands at ``path`` and below."""
        self._decided[path] = (Outcome.DROPPED, "", why)

    def changes(self) -> tuple[Change, ...]:
        """One entry for each key and each item of a list, in the order of the file."""
        paths = [path for path in self.source.lines if path and not str(path[-1]).startswith("\0")]
        paths.sort(key=lambda path: (self.source.lines[path], len(path)))
        entries = [self._about(path) for path in paths if not self._is_only_a_place(path)]
        return tuple(entries)

    def _is_only_a_place(self, path: KeyPath) -> bool:
        """Whether ``path`` is an item whose first key stands on the same line and says more."""
        return isinstance(path[-1], int) and isinstance(self._value(path), Mapping | list | tuple)

    def _about(self, path: KeyPath) -> Change:
        outcome, became, why = self._decision(path)
        value = self._value(path)
        written = "" if value is None or isinstance(value, Mapping | list | tuple) else str(value)
        return Change(self.source.lines[path], self._named(path), written, outcome, became, why)

    def _decision(self, path: KeyPath) -> tuple[Outcome, str, str]:
        for length in range(len(path), 0, -1):
            found = self._decided.get(path[:length])
            if found is None:
                continue
            if length == len(path) or found[0] is Outcome.CHANGED:
                return found
            if found[0] is Outcome.KEPT:
                return Outcome.KEPT, "", ""
            return Outcome.DROPPED, "", f"part of `{self._named(path[:length])}`"
        return Outcome.DROPPED, "", "nothing here corresponds to it"

    def _named(self, path: KeyPath) -> str:
        """``path`` in words: a list's entries by the name or class that they bear."""
        words: list[str] = []
        for length, part in enumerate(path, 1):
            if isinstance(part, str):
                words.append(part)
                continue
            value = self._value(path[:length])
            name = (
                value.get("name") or str(value.get("path", "")).rpartition(".")[2] if isinstance(value, Mapping) else ""
            )
            words.append(f"{words.pop()}[{name or part + 1}]")
        return ".".join(words)

    def _value(self, path: KeyPath) -> Any:
        value: Any = self.tree
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value
