# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cloister.policies import Policies
from cloister.policies.change import Question, changes
from tests.policies.world import NOW, Tree, World


def change_of(old: Tree, new: Tree, *, waived: str = "") -> list[str]:
    """What is said of the world's request where one site's policies become others."""
    before, after = World(), World()
    for world, change in ((before, old), (after, new)):
        world.silence_baseline()
        world.ask(change)
    if waived:
        after.waive(waived)
    question = Question("the job", after.request(), NOW)
    found = changes([question], lambda _: before.policies(), lambda _: after.policies())
    return [each.sentence() for each in found]


def at(place: str, change: Tree) -> str:
    """`file:line` of a key in a site's policy with ``change``."""
    world = World()
    world.ask(change)
    return world.policies().site.source.at(*place.split("."))


GRANTED: Tree = {}
NO_PURPOSE = {"policy": {"purposes": ["teaching"]}}
NO_METHOD = {"policy": {"methods": {"lora": {"maximum_rank": 7}}}}
NEITHER = {"policy": {**NO_PURPOSE["policy"], **NO_METHOD["policy"]}}
TWICE = {"policy": {"training": {"maximum_rounds": 2, "maximum_batch_size": 8}}}
NO_PERSON = {"policy": {"submitters": {"people": ["alan@research.example"], "roles": ["it-admin"]}}}
SAME_LINE = {"policy": {"methods": {"lora": {"targets": ["dense"]}}}}


@pytest.mark.parametrize("same", [GRANTED, NO_PURPOSE, NEITHER])
def test_the_same_answer_is_no_change(same: Tree) -> None:
    assert change_of(same, same) == []


def test_other_reasons_within_the_same_rules_are_no_change() -> None:
    assert change_of(NO_PURPOSE, {"policy": {"purposes": ["research"]}}) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (NO_PURPOSE, GRANTED, "was denied by `purpose`, now allowed"),
        (GRANTED, NO_PURPOSE, f"was allowed, now denied by `purpose` ({at('purposes', NO_PURPOSE)})"),
        (NO_PURPOSE, NO_METHOD, f"now denied by `method` ({at('methods.lora.maximum_rank', NO_METHOD)})"),
        (
            NO_PURPOSE,
            NEITHER,
            f"was denied by `purpose`, now denied by `purpose` ({at('purposes', NEITHER)}), "
            f"`method` ({at('methods.lora.maximum_rank', NEITHER)})",
        ),
        (NEITHER, NO_METHOD, "was denied by `purpose`, `method`, now denied by `method` ("),
        (
            GRANTED,
            TWICE,
            f"now denied by `training` ({at('training.maximum_rounds', TWICE)}, "
            f"{at('training.maximum_batch_size', TWICE)})",
        ),
        (GRANTED, SAME_LINE, f"now denied by `method` ({at('methods.lora.targets', SAME_LINE)})"),
    ],
)
def test_says_what_was_and_what_is_with_the_lines(old: Tree, new: Tree, said: str) -> None:
    (sentence,) = change_of(old, new)
    assert sentence.startswith("the job at hospital-north: was ")
    assert sentence.endswith(said) or (said.endswith("(") and said in sentence)


def test_a_waiver_is_a_change_also_where_nothing_else_is() -> None:
    short = {"view": 99, "policy": {"datasets": {"clinical-notes": {"minimum_records": 99}}}}
    (sentence,) = change_of(short, {"view": 99}, waived="records")
    place = at("datasets.clinical-notes.minimum_records", GRANTED)
    assert sentence == f"the job at hospital-north: was allowed, now allowed waiving `records` ({place})"


def test_each_site_is_asked_by_its_own_policies_at_the_questions_moment(world: World) -> None:
    def of(site: str) -> Policies | None:
        return world.policies() if site == "hospital-north" else None

    here = world.request()
    world.asked_site = "hospital-lake"
    late = NOW.replace(hour=23)
    asked = [Question("now", here, NOW), Question("late", here, late), Question("there", world.request(), NOW)]
    found = changes(asked, lambda _: None, of)
    assert [(each.question.about, each.before.allowed, each.after.allowed) for each in found] == [
        ("now", False, True),
        ("late", False, False),
    ]
    assert found[0].to_json() == {
        "about": "now",
        "site": "hospital-north",
        "before": found[0].before.to_json(),
        "after": found[0].after.to_json(),
    }
    # A refusal that rests on no line names none.
    assert found[0].sentence() == "now at hospital-north: was denied by `validity`, now allowed"
    back = changes([asked[0]], of, lambda _: None)
    assert [each.sentence() for each in back] == ["now at hospital-north: was allowed, now denied by `validity`"]
