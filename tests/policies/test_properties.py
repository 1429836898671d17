# SPDX-License-Identifier: Apache-2.0
"""What must hold of every pair of policies, found by taking grants away from policies that allow the job.

The request is that of the last gate: a job with code, its counted view, and an update about to leave.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloister.documents import Document, Source
from cloister.policies import (
    RULES,
    Decision,
    Effect,
    Leaving,
    Policies,
    Policy,
    Submitter,
    ViewFacts,
    decide,
)
from tests.policies.world import NOW, Tree, World

SILENT = {key: World().baseline[key] for key in ("policy", "version", "owner", "valid_from", "valid_until")}
REQUEST = World().request()
ABOUT_ITSELF = {*SILENT, "extends", "sandbox"}
# Sections that only restrict: without one of them a policy allows more, so dropping it takes no grant away.
RESTRICTIONS = {"hours", "release"}
WAIVABLE = [rule.id for rule in RULES if rule.waivable]

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
        elif isinstance(value, int | float) or (path[-1] == "until" and path[0] != "hours"):
            found.append((path, "tighten"))

    walk(tree, ())
    return found


def sections(tree: Tree) -> list[Edit]:
    return [((key,), "drop") for key in tree if key not in ABOUT_ITSELF | RESTRICTIONS]


def apply(tree: Tree, edit: Edit, amount: int) -> Tree:
    path, kind = edit
    changed = copy.deepcopy(tree)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    if kind == "drop":
        del inner[path[-1]]
    elif path[-1] == "until":
        inner["until"] = "2026-06-01" if amount == 1 else "2026-05-31"
    elif str(path[-1]).startswith("maximum"):
        inner[path[-1]] = max(type(inner[path[-1]])(1), inner[path[-1]] - amount)
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


@st.composite
def waived(draw: st.DrawFn, trees: st.SearchStrategy[Tree]) -> Tree:
    """A tree with some waivers in it; a few of them are over, or for another job."""
    tree = copy.deepcopy(draw(trees))
    rules = draw(st.lists(st.sampled_from(WAIVABLE), max_size=3))
    if rules:
        tree["waivers"] = [
            {
                "rule": rule,
                "reason": "a trial",
                "by": "Nora Lind",
                "until": draw(st.sampled_from(["2026-06-01", "2026-05-31"])),
                "jobs": draw(st.sampled_from([["triage-notes"], ["other"], ["other", "triage-notes"]])),
            }
            for rule in rules
        ]
    return tree


sites = waived(tightened(World().site, most=2, with_sections=True))
# From a baseline a whole section may not be dropped here: without one it sets no floor, and so allows more.
floors = st.one_of(st.just(SILENT), waived(tightened(World().baseline, most=2, with_sections=False)))

NOTES = ("datasets", "clinical-notes")
# Ways to say more that may only restrict: where they go, and what they say.
ADDED: list[tuple[tuple[str, ...], Any]] = [
    (("hours",), {"days": ["monday"], "from": "12:00", "until": "12:01"}),
    (("hours",), {"days": ["sunday"], "from": "12:00", "until": "12:01"}),
    ((*NOTES, "minimum_per_class"), 51),
    ((*NOTES, "purposes"), ["research"]),
    ((*NOTES, "rows"), {"ward": ["west"]}),
    ((*NOTES, "rows"), {"note": ["x"]}),
    ((*NOTES, "approval"), {"kind": "consent", "reference": "x", "until": "2026-05-31"}),
    (("submitters", "people"), ["eve@research.example"]),
    (("training", "minimum_records_per_round"), 129),
    (("code",), "forbidden"),
    (("code",), {"approved": [{"sha256": "c" * 64, "by": "x", "until": "2026-05-31"}]}),
    (("may_leave", "maximum_bytes_per_job"), 999),
    (("may_leave", "maximum_norm"), 1.25),
    (("may_leave", "metric_bounds"), {"accuracy": {"minimum": 0.6}}),
    (("aggregation", "secure_aggregation"), "required"),
    (("privacy",), {"unit": "record", "epsilon": 1, "delta": 0}),
    (("release",), {"minimum_sites": 3}),
    (("release",), {"approved_by": ["nora@north.example"]}),
]


def bare(tree: Tree) -> Tree:
    """``tree`` without anything that only restricts, so that a restriction can be added and not replaced."""
    tree = copy.deepcopy(tree)
    for path, _ in ADDED:
        if path != ("code",):
            parent = tree
            for key in path[:-1]:
                parent = parent.get(key, {})
            parent.pop(path[-1], None)
    return tree


def with_restriction(tree: Tree, path: tuple[str, ...], value: Any) -> Tree:
    tree = copy.deepcopy(tree)
    parent = tree
    for key in path[:-1]:
        if key not in parent:
            return tree
        parent = parent[key]
    if path != ("code",) or "code" in tree:
        parent[path[-1]] = value
    return tree


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


@given(site=sites, baseline=floors)
def test_no_site_allows_what_the_baseline_denies(site: Tree, baseline: Tree) -> None:
    made = decision(site, baseline)
    denied = any(outcome.effect is Effect.DENY and outcome.document == "baseline" for outcome in made.outcomes)
    event(f"the baseline denies: {denied}")
    assert not (denied and made.allowed)
    # What the baseline says does not depend on what the site writes.
    other = decision(World().site, baseline)
    if made.outcomes and other.outcomes:
        assert [outcome for outcome in made.outcomes if outcome.document == "baseline"] == [
            outcome for outcome in other.outcomes if outcome.document == "baseline"
        ]


@given(site=sites, baseline=floors, restriction=st.sampled_from(ADDED), of_site=st.booleans())
def test_adding_a_restriction_never_allows_more(
    site: Tree, baseline: Tree, restriction: tuple[tuple[str, ...], Any], of_site: bool
) -> None:
    site, baseline = bare(site), bare(baseline)
    before = decision(site, baseline).allowed
    if of_site:
        site = with_restriction(site, *restriction)
    else:
        baseline = with_restriction(baseline, *restriction)
    event(f"allowed: {before}")
    assert before or not decision(site, baseline).allowed


@given(site=sites, baseline=floors, data=st.data())
def test_taking_a_waiver_away_never_allows_more(site: Tree, baseline: Tree, data: st.DataObject) -> None:
    which = data.draw(st.sampled_from([site, baseline]))
    if "waivers" not in which:
        return
    before = decision(site, baseline).allowed
    gone = which["waivers"].pop(data.draw(st.integers(0, len(which["waivers"]) - 1)))
    which.update(waivers=which["waivers"]) if which["waivers"] else which.pop("waivers")
    event(f"allowed: {before}, without {gone['rule']}")
    assert before or not decision(site, baseline).allowed


@given(site=sites)
def test_a_waiver_of_a_site_never_changes_what_the_baseline_says(site: Tree) -> None:
    tight = with_restriction(World().baseline, ("may_leave", "maximum_norm"), 1.25)
    assert not decision(site, tight).allowed


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


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.tuples(),
    st.just({}),
    st.just(object()),
)
NUMBERS = st.one_of(st.integers(), st.floats(), JUNK)


@given(
    name=JUNK,
    code=JUNK,
    records=NUMBERS,
    classes=st.one_of(JUNK, st.dictionaries(st.text(max_size=5), NUMBERS, max_size=2)),
    size=NUMBERS,
    before=NUMBERS,
    norm=NUMBERS,
    metrics=st.one_of(JUNK, st.dictionaries(st.text(max_size=5), NUMBERS, max_size=2)),
    tensors=st.one_of(JUNK, st.lists(st.text(max_size=5), max_size=2)),
)
def test_decides_whatever_the_facts_are(
    name: Any, code: Any, records: Any, classes: Any, size: Any, before: Any, norm: Any, metrics: Any, tensors: Any
) -> None:
    """Total: no fact makes `decide` raise, and every outcome can be told and written down."""
    world = World()
    request = dataclasses.replace(
        REQUEST,
        submitter=Submitter(name, name, name),
        code=code,
        view=ViewFacts(records, classes),
        leaving=Leaving(size, before, norm, metrics, tensors),
    )
    made = decide(request, world.policies(), NOW)
    assert not made.allowed  # the submitter is nobody
    assert {outcome.rule for outcome in made.outcomes} == {rule.id for rule in RULES}
    assert made.sentence().isprintable()
    json.dumps(made.to_json())


@given(part=st.sampled_from(["site", "submitter", "job", "silo", "view", "leaving"]), value=JUNK, now=JUNK)
def test_decides_whatever_stands_in_a_requests_place(part: str, value: Any, now: Any) -> None:
    policies = World().policies()
    assert not decide(REQUEST, policies, now).allowed
    made = decide(dataclasses.replace(REQUEST, **{part: value}), policies, NOW)
    assert made.allowed == (part in ("view", "leaving") and value is None)


def test_the_trees_that_grants_are_taken_from_allow() -> None:
    """Else the properties above would hold of nothing."""
    assert decision(World().site, World().baseline).allowed
    assert decision(World().site, SILENT).allowed


def test_most_ways_to_grant_less_deny() -> None:
    """Each edit that touches what the job needs denies, so that the properties above look at both answers."""
    made = [decision(apply(World().site, edit, 10**6), SILENT).allowed for edit in edits(World().site)]
    assert True in made
    assert made.count(False) > 25


def test_every_restriction_above_denies() -> None:
    """But for two that the job keeps to, and one that is asked when the view is written, of the rows."""
    kept = [
        restriction
        for restriction in ADDED
        if decision(with_restriction(bare(World().site), *restriction), SILENT).allowed
    ]
    assert kept == [ADDED[0], ADDED[4]]
