# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from cloister.policies import RULES
from tests.cli.commands import cloister
from tests.federation_folder import change_document, make_federation


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_federation(tmp_path)


def test_a_policy_section_by_section(root: Path) -> None:
    done = cloister("policy", "explain", "alpha", "-C", root)
    assert (done.status, done.err) == (0, "")
    assert "Who may ask (policies/alpha.yaml:" in done.out
    assert "  - Low-rank adaptation up to rank `8`" in done.out
    assert "Denied, because it is not written" in done.out


def test_what_the_baseline_tightens(root: Path) -> None:
    assert "What the baseline tightens" not in cloister("policy", "explain", "beta", "-C", root).out
    change_document(root, "policies/baseline.yaml", {"aggregation": {"minimum_sites": 3}})
    said = cloister("policy", "explain", "beta", "-C", root).out
    assert "`aggregation.minimum_sites`: `2` here, `3` in the baseline, and that counts." in said


def test_as_json(root: Path) -> None:
    value = cloister("policy", "explain", "baseline", "-C", root, "--json").value
    assert value["policy"] == "baseline"
    assert value["sections"][-1]["title"] == "What it leaves to the sites"


def test_as_a_page(root: Path, tmp_path: Path) -> None:
    page = tmp_path / "alpha.html"
    assert cloister("policy", "explain", "alpha", "--html", page, "-C", root).status == 0
    assert page.read_text().startswith("<!doctype html>")


def test_one_decision_rule_by_rule(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"methods": {"lora": {"maximum_rank": 1}}})
    done = cloister("policy", "explain", "alpha", "--job", "tiny-triage", "-C", root)
    assert done.status == 0
    assert "alpha would answer tiny-triage from ada@research.example today: DENIED" in done.out
    assert "method: the site's policy DENIES: rank 2 is above the maximum of 1 (policies/alpha.yaml:" in done.out
    for rule in RULES:
        assert f"  {rule.id}: the baseline " in done.out


def test_a_waived_denial_is_said_to_be_one(root: Path) -> None:
    waiver = {"rule": "training", "reason": "a pilot", "by": "olga", "until": "2099-12-31"}
    change_document(root, "policies/alpha.yaml", {"training": {"maximum_rounds": 1}, "waivers": [waiver]})
    done = cloister("policy", "explain", "alpha", "--job", "tiny-triage", "-C", root)
    assert "training: the site's policy denies, which is waived:" in done.out
    assert "today: allowed" in done.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("baseline", "--job", "tiny-triage"),
        ("alpha", "--job", "nope"),
        ("alpha", "--job", "tiny-triage", "--html", "x"),
        ("nope",),
    ],
)
def test_what_cannot_be_explained(root: Path, arguments: tuple[str, ...]) -> None:
    assert cloister("policy", "explain", *arguments, "-C", root).status == 2


def test_a_page_that_cannot_be_written_is_named_as_it_was_given(root: Path, tmp_path: Path) -> None:
    page = tmp_path / "nowhere" / "x.html"
    done = cloister("policy", "explain", "alpha", "--html", page, "-C", root)
    assert done.status == 2
    assert f"`{page}` cannot be written" in done.err
