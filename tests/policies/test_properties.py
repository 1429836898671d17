# SPDX-License-Identifier: Apache-2.0
"""What must hold of every pair of policies, found by taking grants away from policies that allow the job."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloister.documents import Document, Source
from cloister.policies import Decision, Effect, Policies, Policy, decide
from tests.policies.world import NOW, Tree, World

SILENT = {key: World().baseline[key] for key in ("policy", "version", "owner", "valid_from", "valid_until")}
REQUEST = World().request()
ABOUT_ITSELF = {*SILENT, "extends", "sandbox"}

Edit = tuple[tuple[str | int, ...], str]
"""Where to take something away, and whether to drop the entry or to tighten the number."""


def edits(tree: Tree) -> list[Edit]:
    """Every single way to grant less than ``tree``: without a section or an entry, or with a tighter number."""
    found: list[Edit] = []

    def walk(value: Any, path: tuple[str | int, ...]) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if path or key not in ABOUT_ITSELF:
                    walk(inner, (*path, key))
            if len(path) == 2 and path[0] == "datasets":
                found.append((path, "drop"))
        elif isinstance(value, list):
            found.extend(((*path, index), "drop") for index in range(len(value)))
        elif isinstance(value, int):
            found.append((path, "tighten"))

    walk(tree, ())
    return found


def sections(tree: Tree) -> list[Edit]:
    return [((key,), "drop") for key in tree if key not in ABOUT_ITSELF]


def apply(tree: Tree, edit: Edit, amount: int) -> Tree:
    path, kind = edit
    changed = copy.deepcopy(tree)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    if kind == "drop":
        del inner[path[-1]]
    elif str(path[-1]).startswith("maximum"):
        inner[path[-1]] = max(1, inner[path[-1]] - amount)
    else:
        inner[path[-1]] += amount
    return changed


@st.composite
def tightened(draw: st.DrawFn, tree: Tree, *, most: int, with_sections: bool) -> Tree:
    for _ in range(draw(st.integers(0, most))):
        choices = edits(tree) + (sections(tree) if with_sections else [])
        if choices:
            tree = apply(tree, draw(st.sampled_from(choices)), draw(st.sampled_from([1, 10, 1000])))
    return tree


def policy(tree: Tree) -> Document[Policy] | None:
    """``tree`` as a document; None where it says nothing that a policy may say, as where a list has become empty."""
    try:
        value = Policy.model_validate_json(json.dumps(tree))
    except ValidationError:
        return None
    return Document(value, Source("policy.yaml", {}), b"")


def decision(site: Tree, baseline: Tree) -> Decision:
    """The decision; a denial where a document is invalid, for then nothing starts at all."""
    own, floor = policy(site), policy(baseline)
    if own is None or floor is None:
        return Decision(())
    return decide(REQUEST, Policies(own, floor), NOW)


def shuffled(value: Any, source: random.Random) -> Any:
    if isinstance(value, dict):
        items = [(key, shuffled(inner, source)) for key, inner in value.items()]
        source.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        return source.sample([shuffled(inner, source) for inner in value], len(value))
    return value


sites = tightened(World().site, most=2, with_sections=True)
# From a baseline a whole section may not be dropped here: without one it sets no floor, and so allows more.
floors = st.one_of(st.just(SILENT), tightened(World().baseline, most=2, with_sections=False))


@given(site=sites, baseline=floors)
def test_a_baseline_never_allows_more(site: Tree, baseline: Tree) -> None:
    both = decision(site, baseline).allowed
    event(f"allowed: {both}")
    assert not both or decision(site, SILENT).allowed


@given(site=sites, baseline=floors)
def test_both_together_allow_what_each_allows(site: Tree, baseline: Tree) -> None:
    both = decision(site, baseline).allowed
    own = decision(site, SILENT).allowed
    floor = decision(World().site, baseline).allowed
    assert both == (own and floor)


@given(data=st.data(), site=sites, baseline=floors)
def test_taking_a_grant_from_a_site_never_allows_more(data: st.DataObject, site: Tree, baseline: Tree) -> None:
    less = data.draw(tightened(site, most=1, with_sections=True))
    assert decision(site, baseline).allowed or not decision(less, baseline).allowed


@given(data=st.data(), site=sites, baseline=floors)
def test_taking_a_grant_from_the_baseline_never_allows_more(data: st.DataObject, site: Tree, baseline: Tree) -> None:
    less = data.draw(tightened(baseline, most=1, with_sections=False))
    assert decision(site, baseline).allowed or not decision(site, less).allowed


@given(site=sites, baseline=floors, seed=st.integers(0, 2**32))
def test_order_changes_nothing(site: Tree, baseline: Tree, seed: int) -> None:
    source = random.Random(seed)
    before = decision(site, baseline)
    after = decision(shuffled(site, source), shuffled(baseline, source))
    assert [(outcome.rule, outcome.effect) for outcome in before.outcomes] == [
        (outcome.rule, outcome.effect) for outcome in after.outcomes
    ]


@given(site=sites, baseline=floors)
def test_a_refusal_always_says_why(site: Tree, baseline: Tree) -> None:
    made = decision(site, baseline)
    for outcome in made.outcomes:
        assert outcome.message
        assert outcome.sentence().isprintable()
        assert not outcome.message.endswith(".")
        assert "the rule failed" not in outcome.message
        if outcome.effect is Effect.DENY:
            assert outcome.policy_at


def test_the_trees_that_grants_are_taken_from_allow() -> None:
    """Else the properties above would hold of nothing."""
    assert decision(World().site, World().baseline).allowed
    assert decision(World().site, SILENT).allowed


def test_most_ways_to_grant_less_deny() -> None:
    """Each edit that touches what the job needs denies, so that the properties above look at both answers."""
    made = [decision(apply(World().site, edit, 10**6), SILENT).allowed for edit in edits(World().site)]
    assert True in made
    assert made.count(False) > 15
