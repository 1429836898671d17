# SPDX-License-Identifier: Apache-2.0
"""How much of what names somebody is found in sentences with marked pieces, made by Presidio's authors.

1,500 synthetic sentences of 209 templates, 17 kinds of piece (https://github.com/microsoft/presidio-research, MIT). The
patterns were tuned on the templates in `TUNED_ON`; what is reported is measured on the others, so that no sentence of a
template is on both sides. The file is read where it lies beside the project; nothing of it is copied into the project.

A marked piece is found wholly where findings, of whatever kind, cover each of its characters but white space, and in
part where they cover one. A finding is right where it shares a character with a marked piece, of whatever kind.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cloister.records.free_text.deidentify import Finding

REMAINDERS_TUNED_ON = (0, 3)
"""Templates whose number has one of these remainders by four."""

Sentence = dict[str, Any]


@dataclass
class Measured:
    """Counts over sentences, by what a piece is marked as or found as.

    Attributes:
        marked: pieces; `wholly` and `partly` of them are found.
        characters: of marked pieces, without white space; `covered` of them are found.
        found: findings; `right` of them share a character with a marked piece.
        masked: characters of findings, without white space; `rightly` of them are in a marked piece.
    """

    marked: Counter[str] = field(default_factory=Counter)
    wholly: Counter[str] = field(default_factory=Counter)
    partly: Counter[str] = field(default_factory=Counter)
    characters: Counter[str] = field(default_factory=Counter)
    covered: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    masked: int = 0
    rightly: int = 0

    def add(self, sentence: Sentence, findings: Sequence[Finding]) -> None:
        """Count one sentence."""
        text = sentence["full_text"]
        inked = {index for index, character in enumerate(text) if not character.isspace()}
        hidden = inked & {index for finding in findings for index in range(finding.start, finding.end)}
        marked: set[int] = set()
        for span in sentence["spans"]:
            kind = span["entity_type"]
            piece = inked & set(range(span["start_position"], span["end_position"]))
            marked |= piece
            self.marked[kind] += 1
            self.wholly[kind] += piece <= hidden
            self.partly[kind] += bool(piece & hidden)
            self.characters[kind] += len(piece)
            self.covered[kind] += len(piece & hidden)
        for finding in findings:
            self.found[finding.entity] += 1
            self.right[finding.entity] += not marked.isdisjoint(range(finding.start, finding.end))
        self.masked += len(hidden)
        self.rightly += len(hidden & marked)

    def recall_table(self) -> list[str]:
        """Rows of a table in Markdown: marked as, pieces, share found wholly, in part, and of characters."""
        rows = ["| marked as | pieces | found wholly | in part | characters |", "|---|---|---|---|---|"]
        for kind in sorted(self.marked, key=lambda kind: (-self.wholly[kind] / self.marked[kind], kind)):
            rows.append(self._recall_row(f"`{kind}`", (kind,)))
        return [*rows, self._recall_row("all", tuple(self.marked))]

    def _recall_row(self, name: str, kinds: tuple[str, ...]) -> str:
        marked, wholly, partly, characters, covered = (
            sum(counts[kind] for kind in kinds)
            for counts in (self.marked, self.wholly, self.partly, self.characters, self.covered)
        )
        return f"| {name} | {marked} | {wholly / marked:.3f} | {partly / marked:.3f} | {covered / characters:.3f} |"

    def precision_table(self) -> list[str]:
        """Rows of a table in Markdown: found as, pieces, share that is right."""
        rows = ["| found as | pieces | right |", "|---|---|---|"]
        rows += [
            f"| `{kind}` | {self.found[kind]} | {self.right[kind] / self.found[kind]:.3f} |"
            for kind in sorted(self.found)
        ]
        return [*rows, f"| all | {self.found.total()} | {self.right.total() / self.found.total():.3f} |"]


def read_sentences(*, tuned_on: bool) -> list[Sentence]:
    """The sentences of one half; skips the calling test where they are not there."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data" / "presidio_pii" / "synth_dataset_v2.json"
    if not path.is_file():
        pytest.skip("the folder `shared/data` with labelled sentences does not lie beside the project")
    sentences = json.loads(path.read_text(encoding="utf-8"))
    return [each for each in sentences if (each["template_id"] % 4 in REMAINDERS_TUNED_ON) is tuned_on]


def measure(find: Callable[[str], Sequence[Finding]], sentences: Sequence[Sentence]) -> Measured:
    """Counts of what ``find`` finds in ``sentences``."""
    measured = Measured()
    for sentence in sentences:
        measured.add(sentence, find(sentence["full_text"]))
    return measured
