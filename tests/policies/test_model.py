# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import typing
from typing import Any

import pytest

from cloister.documents import parse
from cloister.errors import InvalidDocumentsError, Problem
from cloister.policies import RULES, Policy
from cloister.policies.terms import WaivableRule
from cloister.row_filter import MAXIMUM_CHARACTERS
from tests.policies.world import Tree, World, document, text_of


def problems(tree: Tree) -> list[Problem]:
    with pytest.raises(InvalidDocumentsError) as caught:
        document(tree, Policy, "site.yaml")
    return list(caught.value.problems)


def one_problem(world: World) -> Problem:
    (problem,) = problems(world.site)
    return problem


def test_reads_every_key(world: World) -> None:
    world.site.update(language=1, privacy={"unit": "person", "epsilon": 3, "delta": 1e-5})
    world.waive("hours")
    policy = document(world.site, Policy, "site.yaml").value
    assert policy.model_fields_set == set(Policy.model_fields)
    assert not policy.is_baseline
    assert document(world.baseline, Policy, "baseline.yaml").value.is_baseline


def test_an_empty_document_is_not_a_policy() -> None:
    missing = {problem.message for problem in problems({})}
    assert missing == {f"missing key `{key}`" for key in ("policy", "version", "owner", "valid_from", "valid_until")}


def test_a_site_extends_the_baseline(world: World) -> None:
    del world.site["extends"]
    assert one_problem(world).message == "must say `extends: baseline`, because it is a site's policy"
    world.site["extends"] = "hospital-river"
    assert "should be 'baseline'" in one_problem(world).message


def test_the_baseline_extends_nothing(world: World) -> None:
    world.site = {**world.baseline, "extends": "baseline"}
    assert one_problem(world).message == "may not say `extends`, because it is the baseline itself"


def test_a_policy_begins_before_it_ends(world: World) -> None:
    world.site["valid_until"] = "2025-12-31"
    problem = one_problem(world)
    assert problem.message == "`valid_until` is 2025-12-31, before `valid_from`, which is 2026-01-01"
    assert problem.line == document({**world.site, "valid_until": "2026-01-01"}, Policy, "x").source.line(
        ("valid_until",)
    )
    world.site["valid_until"] = "2026-01-01"
    assert (
        document(world.site, Policy, "site.yaml").value.valid_until
        == document(world.site, Policy, "site.yaml").value.valid_from
    )


EMPTY = [
    ("extends",),
    ("submitters",),
    ("submitters", "people"),
    ("submitters", "roles"),
    ("submitters", "organisations"),
    ("purposes",),
    ("datasets",),
    ("datasets", "clinical-notes", "columns"),
    ("datasets", "clinical-notes", "purposes"),
    ("datasets", "clinical-notes", "rows"),
    ("datasets", "clinical-notes", "approval"),
    ("datasets", "clinical-notes", "minimum_per_class"),
    ("hours",),
    ("hours", "days"),
    ("code",),
    ("code", "approved"),
    ("release",),
    ("release", "minimum_records"),
    ("may_leave", "tensors"),
    ("may_leave", "metric_bounds"),
    ("may_leave", "maximum_norm"),
    ("base_models",),
    ("methods",),
    ("methods", "lora"),
    ("methods", "lora", "targets"),
    ("training",),
    ("training", "maximum_steps_per_round"),
    ("sandbox",),
    ("may_leave",),
    ("may_leave", "metrics"),
    ("aggregation",),
]


@pytest.mark.parametrize("path", EMPTY, ids=".".join)
def test_a_key_that_is_left_empty_is_a_mistake_and_not_an_absent_section(world: World, path: tuple[str, ...]) -> None:
    for tree in (world.site, world.baseline):
        if path == ("extends",) and tree is world.baseline:
            continue
        inner: Any = tree
        for key in path[:-1]:
            inner = inner[key]
        for empty in (None, []) if isinstance(inner[path[-1]], list) else (None,):
            inner[path[-1]] = empty
            (problem, *more) = problems(tree)
            assert not more
            assert f"`{'.'.join(path)}`" in problem.message
            assert "empty" in problem.message


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("submiters",), {}, "unknown key `submiters` (did you mean `submitters`?)"),
        (("submitters", "person"), ["ada@x"], "unknown key `person` (did you mean `people`?)"),
        (("submitters", "roles"), ["doctor"], "an entry of `submitters.roles` should be 'data-scientist'"),
        (("submitters", "people"), ["ada"], "must be written like a mail address"),
        (("datasets",), {}, "at least 1 item"),
        (("datasets", "clinical-notes", "minimum_records"), 0, "greater than or equal to 1"),
        (("datasets", "clinical-notes", "minimum_records"), "100", "must be a whole number, not text"),
        (("datasets", "clinical-notes", "minimum_records"), None, "must be a whole number, not empty"),
        (("datasets", "clinical-notes", "minimum_record"), 5, "did you mean `minimum_records`?"),
        (("base_models", 0, "sha256"), "abc", "must be a SHA-256: 64 digits"),
        (("methods", "fuller"), {}, "unknown key `fuller`"),
        (("training", "maximum_rounds"), 0, "greater than or equal to 1"),
        (("sandbox",), "none", "should be 'required' or 'unsafe-none'"),
        (("may_leave", "metrics"), ["accuracy", "acuracy"], "an entry of `may_leave.metrics` should be 'accuracy'"),
        (("may_leave", "maximum_bytes_per_round"), 1.5, "must be a whole number"),
        (("valid_until",), 20271231, "should be a valid date"),
        (("valid_until",), "2027-12-31T12:00:00", "date"),
        (("purposes",), ["care improvement"], "an entry of `purposes` must be 1 to 63 lower-case letters, digits"),
        (("valid_until",), "2027-06-31", "`valid_until` is a day that there is not: `2027-06-31`"),
        (("valid_until",), "soon", "must be a date such as 2027-01-31, not text"),
        (("language",), 0, "greater than or equal to 1"),
        (("language",), "1", "must be a whole number, not text"),
        (("hours", "from"), "7:00", "must be a time of day from 00:00 to 23:59"),
        (("hours", "from"), "24:00", "must be a time of day from 00:00 to 23:59"),
        (("hours", "until"), "07:00", "begins and ends at the same time"),
        (("hours", "days"), ["Monday"], "should be 'monday'"),
        (("datasets", "clinical-notes", "rows"), {}, "at least 1 item"),
        (("datasets", "clinical-notes", "rows"), {"ward": []}, "at least 1 item"),
        (("datasets", "clinical-notes", "rows"), {"ward": "north"}, "must be a list, not text"),
        (("datasets", "clinical-notes", "approval", "kind"), "none", "should be 'ethics' or 'consent'"),
        (("code",), "allowed", "should be 'forbidden'"),
        (("code", "approved", 0, "sha256"), "C" * 64, "must be a SHA-256: 64 digits"),
        (("code", "approve"), [], "did you mean `approved`?"),
        (("may_leave", "tensors"), ["adapter", "body"], "should be 'adapter', 'head' or 'model'"),
        (("may_leave", "metric_bounds"), {"f1": {"minimum": 0}}, "should be 'accuracy'"),
        (("may_leave", "metric_bounds"), {"loss": {}}, "states neither `minimum` nor `maximum`"),
        (("may_leave", "metric_bounds"), {"loss": {"minimum": 2, "maximum": 1}}, "has a `maximum` below its `minimum`"),
        (("may_leave", "maximum_norm"), 0, "greater than 0"),
        (("aggregation", "secure_aggregation"), "optional", "should be 'required'"),
        (("privacy",), {"unit": "row", "epsilon": 1, "delta": 0}, "should be 'record' or 'person'"),
        (("release",), {}, "states none of"),
        (("waivers",), [{"rule": "silo", "reason": "x", "by": "y", "until": "2026-01-01"}], "should be 'hours'"),
        (("waivers",), [{"rule": "hours", "reason": "x", "by": "y"}], "missing key `waivers.until`"),
        (("version",), 0, "greater than or equal to 1"),
        (("owner",), "two\nlines", "must be one line of text"),
    ],
)
def test_names_what_is_wrong(world: World, path: tuple[str | int, ...], value: Any, said: str) -> None:
    inner: Any = world.site
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert said in str(one_problem(world))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("purposes",), [], "`purposes` is left empty; fill it, or take the key out"),
        (("extends",), None, "`extends` is left empty; fill it, or take the key out"),
        (
            ("hours", "until"),
            "07:00",
            "`hours` begins and ends at the same time; leave `hours` out where any time will do",
        ),
        (
            ("may_leave", "metric_bounds"),
            {"loss": {}},
            "`may_leave.metric_bounds.loss` states neither `minimum` nor `maximum`",
        ),
        (
            ("may_leave", "metric_bounds"),
            {"loss": {"minimum": 2, "maximum": 1}},
            "`may_leave.metric_bounds.loss` has a `maximum` below its `minimum`",
        ),
        (("release",), {}, "`release` states none of `minimum_sites`, `minimum_records` and `approved_by`"),
    ],
)
def test_a_mistake_is_told_in_these_words(world: World, path: tuple[str | int, ...], value: Any, message: str) -> None:
    inner: Any = world.site
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert one_problem(world).message == message


@pytest.mark.parametrize(
    "path",
    [
        ("datasets", "clinical-notes", "columns"),
        ("datasets", "clinical-notes", "minimum_records"),
        ("base_models", 0, "licence"),
        ("methods", "lora", "targets"),
        ("methods", "lora", "maximum_rank"),
        ("training", "maximum_rounds"),
        ("training", "maximum_batch_size"),
        ("may_leave", "tensors"),
        ("may_leave", "metrics"),
        ("may_leave", "maximum_bytes_per_round"),
        ("hours", "days"),
        ("hours", "from"),
        ("hours", "until"),
        ("code", "approved", 0, "until"),
        ("datasets", "clinical-notes", "approval", "until"),
        ("aggregation", "minimum_sites"),
    ],
)
def test_a_section_that_is_written_is_written_whole(world: World, path: tuple[str | int, ...]) -> None:
    inner: Any = world.baseline
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    (problem,) = problems(world.baseline)
    assert problem.message == f"missing key `{'.'.join(part for part in path if isinstance(part, str))}`"


def test_a_policy_of_a_newer_language_is_told_as_that_alone(world: World) -> None:
    world.site.update(language=2, sites={"only": ["alpha"]}, hours={"always": True})
    problem = one_problem(world)
    assert problem.message == "`language` is written in policy language 2, and this version of Cloister reads 1"
    assert problem.line == 1 + list(world.site).index("language") + lines_before(world.site, "language")


def lines_before(tree: Tree, key: str) -> int:
    """Lines that the sections before ``key`` take beyond one each."""
    text = text_of(tree).decode().splitlines()
    return text.index(f"{key}: {tree[key]}") - list(tree).index(key)


def test_times_of_day_are_text_without_quotes() -> None:
    tree = World().site
    text = text_of(tree).replace(b"'07:00'", b"07:00").replace(b"'19:00'", b"19:00")
    assert b"from: 07:00" in text
    assert parse(text, Policy, name="site.yaml").value == document(tree, Policy, "site.yaml").value


def test_exactly_the_rules_that_a_waiver_may_name_can_be_waived() -> None:
    assert {rule.id for rule in RULES if rule.waivable} == set(typing.get_args(WaivableRule))


def test_a_filter_is_as_long_as_its_language_allows_and_no_longer(world: World) -> None:
    grant = world.site["datasets"]["clinical-notes"]
    grant["filter"] = f"ward == '{'x' * (MAXIMUM_CHARACTERS - 10)}'"
    assert len(grant["filter"]) == MAXIMUM_CHARACTERS
    datasets = document(world.site, Policy, "site.yaml").value.datasets
    assert datasets is not None
    assert datasets["clinical-notes"].filter == grant["filter"]
    grant["filter"] += " "
    assert f"at most {MAXIMUM_CHARACTERS} characters" in one_problem(world).message


@pytest.mark.parametrize("text", ["", "age >=", "age >= 18\n"])
def test_a_filter_is_one_line_that_can_be_read(world: World, text: str) -> None:
    world.site["datasets"]["clinical-notes"]["filter"] = text
    assert len(problems(world.site)) == 1
