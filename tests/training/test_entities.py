# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.jobs.tags import tags_of
from cloister.training.entities import EntityCount, entities_of

LABELS = ("drug", "dose", "route")
WORDS = tags_of(LABELS)


def numbers(*words: str) -> list[int]:
    return [WORDS.index(word) for word in words]


def by_conll(words: list[str]) -> set[tuple[int, int, str]]:
    """Written from the rules of CoNLL's scorer, as seqeval has them: when a chunk ends and when one starts."""

    def split(word: str) -> tuple[str, str]:
        return ("O", "") if word == "O" else (word[0], word[2:])

    found, begun = set(), None
    before = ("O", "")
    for index, here in enumerate([split(word) for word in words] + [("O", "")]):
        (tag_before, label_before), (tag, label) = before, here
        ends = tag_before in "BI" and (tag in "BO" or label != label_before)
        starts = tag == "B" or (tag == "I" and (tag_before == "O" or label != label_before))
        if ends and begun is not None:
            found.add((begun, index - 1, label_before))
            begun = None
        if starts:
            begun = index
        before = here
    return found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), set()),
        (("O", "O"), set()),
        (("B-drug",), {(0, 0, 0)}),
        (("B-drug", "I-drug", "O", "B-dose"), {(0, 1, 0), (3, 3, 1)}),
        (("B-drug", "B-drug"), {(0, 0, 0), (1, 1, 0)}),
        (("B-drug", "I-dose"), {(0, 0, 0), (1, 1, 1)}),
        (("O", "I-dose", "I-dose"), {(1, 2, 1)}),
        (("I-drug", "B-drug", "I-drug"), {(0, 0, 0), (1, 2, 0)}),
    ],
)
def test_pieces_of_tags(words: tuple[str, ...], found: set[tuple[int, int, int]]) -> None:
    assert entities_of(numbers(*words)) == found


Tags = st.lists(st.sampled_from(WORDS), max_size=20)


@given(Tags)
def test_agrees_with_the_rules_of_conll(words: list[str]) -> None:
    found = {(first, last, LABELS[label]) for first, last, label in entities_of(numbers(*words))}
    assert found == by_conll(words)


@given(st.lists(st.tuples(Tags, Tags), max_size=6), st.integers(0, 3))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(texts: list[tuple[list[str], list[str]]], lost: int) -> None:
    count, right, found, marked = EntityCount(marked=lost), 0, 0, lost
    for truth, guess in texts:
        size = min(len(truth), len(guess))
        count.add(numbers(*truth[:size]), numbers(*guess[:size]))
        right += len(by_conll(truth[:size]) & by_conll(guess[:size]))
        found += len(by_conll(guess[:size]))
        marked += len(by_conll(truth[:size]))
    if not right:
        assert count.f1() == (0.0 if found + marked else 1.0)
        return
    precision, recall = right / found, right / marked
    assert count.f1() == pytest.approx(2 * precision * recall / (precision + recall))
