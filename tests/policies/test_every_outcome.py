# SPDX-License-Identifier: Apache-2.0
"""outcomes.yaml: every answer of every rule, by the site's own policy and by the baseline, with the lines it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.documents import Document, KeyPath
from cloister.documents.yaml_tree import YamlTree
from cloister.policies import RULES, Effect, Outcome
from tests.policies.world import Tree, World

_READER = YamlTree("outcomes.yaml")  # as a document is read: dates and times of day are text
TABLE: dict[str, list[Tree]] = _READER.build(Path(__file__).with_name("outcomes.yaml").read_text(encoding="utf-8"))
ENTRIES = [
    (rule, index, which) for rule in TABLE for index in range(len(TABLE[rule])) for which in ("site", "baseline")
]
KEYS = {"with", "policy", "job", "then", "baseline", *Effect}


def path_of(key: str, document: Document) -> KeyPath:
    """``key`` as the table writes it, `method.lora.targets.1`; it must be a key of ``document``."""
    path = tuple(int(part) if part.isdecimal() else part for part in key.split("."))
    assert path in document.source.lines, key
    return path


def line_of(answer: Tree, of: str, document: Document) -> str:
    """`file:line` of what ``answer`` names in ``document``; empty where it names nothing there."""
    if of not in answer:
        return ""
    return document.source.at(*(() if answer[of] == "the document" else path_of(answer[of], document)))


def expected(rule: str, answer: Tree | None, world: World, which: str) -> Iterator[Outcome]:
    request, policies = world.request(), world.policies()
    places = {"policy": getattr(policies, which), "silo": request.silo}
    while answer is not None:
        assert answer.keys() <= KEYS
        (effect,) = answer.keys() & set(Effect)
        message = re.sub(
            r"\{(policy|silo): (\S+)\}",
            lambda found: places[found[1]].source.at(*path_of(found[2], places[found[1]])),
            answer[effect],
        )
        policy_at, job_at = line_of(answer, "policy", places["policy"]), line_of(answer, "job", request.job)
        yield Outcome(rule, Effect(effect), message, policy_at, job_at, which)
        answer = answer.get("then")


@pytest.mark.parametrize(("rule", "index", "which"), ENTRIES)
def test_is_answered_word_for_word_with_the_very_lines(world: World, rule: str, index: int, which: str) -> None:
    entry = TABLE[rule][index]
    world.ask(entry.get("with", {}), which=which)
    answer = entry["baseline"] if which == "baseline" and "baseline" in entry else entry
    made = [outcome for outcome in world.outcomes(rule) if outcome.document == which]
    assert made == list(expected(rule, answer, world, which))


def test_the_table_has_every_rule_in_order_and_no_entry_twice() -> None:
    assert _READER.problems == []
    assert list(TABLE) == [rule.id for rule in RULES]
    for entries in TABLE.values():
        assert all(entries.count(entry) == 1 for entry in entries)
