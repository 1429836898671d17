# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json

import pytest

from cloister.documents import parse
from cloister.policies import Policies, Policy
from cloister.row_filter import All, Comparison, OneOf
from tests.policies.world import World, text_of


@pytest.mark.parametrize(
    ("site", "baseline", "effective"),
    [
        ("required", "required", "required"),
        ("required", "unsafe-none", "required"),
        ("required", None, "required"),
        ("unsafe-none", "required", "required"),
        ("unsafe-none", "unsafe-none", "unsafe-none"),
        ("unsafe-none", None, "unsafe-none"),
        (None, "required", "required"),
        (None, "unsafe-none", "required"),
        (None, None, "required"),
    ],
)
def test_the_sandbox_falls_only_where_nobody_holds_it(
    world: World, site: str | None, baseline: str | None, effective: str
) -> None:
    for tree, said in ((world.site, site), (world.baseline, baseline)):
        tree.pop("sandbox")
        if said:
            tree["sandbox"] = said
    assert world.policies().sandbox == effective


def test_metrics_are_those_that_both_let_out(world: World) -> None:
    world.site["may_leave"]["metrics"] = ["accuracy", "loss"]
    world.baseline["may_leave"]["metrics"] = ["loss", "train_loss"]
    assert world.policies().allowed_metrics == {"loss"}
    world.silence_baseline()
    assert world.policies().allowed_metrics == {"accuracy", "loss"}
    del world.site["may_leave"]
    assert world.policies().allowed_metrics == frozenset()


def test_rows_pass_the_filters_of_both(world: World) -> None:
    own, floor = world.site["datasets"]["clinical-notes"], world.baseline["datasets"]["clinical-notes"]
    own.update(rows={"ward": ["north", "south"], "triage": ["urgent"]}, filter="age >= 18")
    floor["rows"] = {"ward": ["south", "west"]}
    of_site = (OneOf("ward", ("north", "south")), OneOf("triage", ("urgent",)), Comparison("age", ">=", 18))
    assert world.policies().row_filter("clinical-notes") == All((*of_site, OneOf("ward", ("south", "west"))))
    assert world.policies().row_filter("letters") is world.policies().row_filter("x-rays") is None
    world.silence_baseline()
    assert world.policies().row_filter("clinical-notes") == All(of_site)
    own.pop("rows")
    assert world.policies().row_filter("clinical-notes") == of_site[2]
    del world.site["datasets"]
    assert world.policies().row_filter("clinical-notes") is None


@pytest.mark.parametrize(
    ("site", "baseline", "effective"),
    [
        ("keep", None, "keep"),
        ("keep", "mask", "mask"),
        ("mask", "keep", "mask"),
        ("mask", "refuse", "refuse"),
        ("refuse", "keep", "refuse"),
        (None, None, "mask"),
        (None, "keep", "keep"),
    ],
)
def test_the_strictest_way_with_free_text_counts(
    world: World, site: str | None, baseline: str | None, effective: str
) -> None:
    for tree, said in ((world.site, site), (world.baseline, baseline)):
        tree["datasets"]["clinical-notes"]["free_text"] = said
        if said is None:
            del tree["datasets"]["clinical-notes"]["free_text"]
    assert world.policies().free_text("clinical-notes") == effective


@pytest.mark.parametrize(
    ("site", "baseline", "effective"),
    [
        (5, 7, 7),
        (7, 5, 7),
        (5, "no statistics", None),
        ("no statistics", 5, None),
        (5, "silent", 5),
        ("silent", 5, None),
    ],
)
def test_the_larger_smallest_count_holds_and_none_may_leave_where_either_grants_none(
    world: World, site: int | str, baseline: int | str, effective: int | None
) -> None:
    for tree, said in ((world.site, site), (world.baseline, baseline)):
        if said == "silent":
            del tree["may_leave"]
        elif said == "no statistics":
            del tree["may_leave"]["statistics"]
        else:
            tree["may_leave"]["statistics"] = {"minimum_count": said}
    assert world.policies().minimum_count == effective


@pytest.mark.parametrize(("site", "baseline", "effective"), [(5, 7, 7), (7, 5, 7), (None, 5, 5), (5, None, 5)])
def test_a_result_needs_what_either_demands(
    world: World, site: int | None, baseline: int | None, effective: int
) -> None:
    for tree, said in ((world.site, site), (world.baseline, baseline)):
        tree.pop("release", None)
        if said is not None:
            tree["release"] = {"minimum_sites": said, "minimum_records": said * 100}
    assert world.policies().release_minimum_sites == effective
    assert world.policies().release_minimum_records == effective * 100


def test_a_result_needs_nothing_where_nobody_demands_it(world: World) -> None:
    world.site["release"] = {"approved_by": ["nora@north.example"]}
    world.silence_baseline()
    assert (world.policies().release_minimum_sites, world.policies().release_minimum_records) == (0, 0)
    del world.site["release"]
    assert (world.policies().release_minimum_sites, world.policies().release_minimum_records) == (0, 0)


def test_the_digest_is_over_what_is_said(world: World) -> None:
    before = world.policies()
    commented = parse(b"# reviewed\n" + text_of(dict(reversed(world.site.items()))), Policy, name="moved.yaml")
    assert Policies(commented, before.baseline).digest == before.digest
    assert len(before.digest) == 64


def test_the_digest_is_one_that_anybody_can_compute(world: World) -> None:
    world.silence_baseline()
    said = {"site": {**world.baseline, "policy": "hospital-north", "extends": "baseline"}, "baseline": world.baseline}
    world.site = said["site"]
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    assert world.policies().digest == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_the_digest_changes_with_either_policy(world: World, which: str) -> None:
    before = world.policies().digest
    (world.site if which == "site" else world.baseline)["may_leave"]["maximum_bytes_per_round"] += 1
    assert world.policies().digest != before


def test_the_digest_tells_the_two_documents_apart(world: World) -> None:
    policies = world.policies()
    assert Policies(policies.baseline, policies.site).digest != policies.digest
