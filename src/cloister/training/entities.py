# SPDX-License-Identifier: Apache-2.0
"""From tags to pieces of a text, and how well found pieces agree with the marked ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def entities_of(tags: Sequence[int]) -> set[tuple[int, int, int]]:
    """The pieces that ``tags`` mark, as (first token, last token, label number).

    As CoNLL's scorer reads them (https://www.clips.uantwerpen.be/conll2000/chunking/output.html), a piece begins at its
    `B-`, and at an `I-` that goes on with nothing: behind `O`, or behind another label.

    Args:
        tags: numbers as `cloister.jobs.tags.tags_of` gives them: 0 outside, 2 k + 1 and 2 k + 2 for label k.
    """
    found: set[tuple[int, int, int]] = set()
    start = label = -1
    for index, tag in enumerate([*tags, 0]):
        begins, here = tag % 2 == 1, (tag - 1) // 2 if tag else -1
        if label >= 0 and (begins or here != label):
            found.add((start, index - 1, label))
            label = -1
        if here >= 0 and label < 0:
            start, label = index, here
    return found


@dataclass
class EntityCount:
    """Pieces that were right, found and marked, over all texts and labels together."""

    right: int = 0
    found: int = 0
    marked: int = 0

    def add(self, truth: Sequence[int], predicted: Sequence[int]) -> None:
        """Count the pieces of one text from the tags of its tokens."""
        true, guessed = entities_of(truth), entities_of(predicted)
        self.right += len(true & guessed)
        self.found += len(guessed)
        self.marked += len(true)

    def f1(self) -> float:
        """Micro-averaged F1 = 2 right / (found + marked); 1 where nothing was marked and nothing found."""
        return 2 * self.right / (self.found + self.marked) if self.found + self.marked else 1.0
