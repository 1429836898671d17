# SPDX-License-Identifier: Apache-2.0
"""What the commands that need running processes say where none runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import cloister
from tests.federation_folder import change_document, make_federation


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_federation(tmp_path / "federation")


def test_status_before_anything_was_made(root: Path) -> None:
    done = cloister("status", "-C", root, "--json")
    assert done.status == 0
    names = [entry["name"] for entry in done.value["processes"]]
    assert names == ["coordinator", "alpha", "beta", "gamma"]
    assert all(entry["pid"] is None and entry["problems"] for entry in done.value["processes"])
    assert done.value["port"] is None
    words = cloister("status", "-C", root)
    assert words.out.count("not running") == 4
    assert "cloister provision" in words.out
    assert done.value["authority"] is None


def test_status_tells_of_expired_and_unsafe_policies(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"valid_until": "2026-01-02"})
    change_document(root, "policies/beta.yaml", {"sandbox": "unsafe-none"})
    change_document(root, "policies/baseline.yaml", {"sandbox": None})
    problems = {e["name"]: " ".join(e["problems"]) for e in cloister("status", "-C", root, "--json").value["processes"]}
    assert problems["alpha"].count("`validity`: the policy ended on 2026-01-02 and today is") == 1
    assert problems["alpha"].count("ended on") == 1, "once"
    assert "(policies/alpha.yaml:" in problems["alpha"]
    assert "sandbox: unsafe-none" in problems["beta"]
    assert "policy" not in problems["gamma"]


def test_down_where_nothing_runs(root: Path) -> None:
    assert cloister("down", "-C", root).out == "nothing was running\n"
    done = cloister("down", "-C", root, "--json")
    assert (done.status, done.value) == (0, {"stopped": []})


def test_down_works_over_invalid_documents(root: Path) -> None:
    (root / "policies" / "alpha.yaml").write_text("policy: [")
    assert cloister("down", "-C", root).status == 0


def test_up_without_keys_says_what_to_do(root: Path) -> None:
    done = cloister("up", "-C", root, "--json")
    assert done.status == 1
    assert "cloister provision" in done.error["hint"] or "provision" in done.error["message"]


@pytest.mark.parametrize("command", ["submit", "watch", "list", "abort", "fetch"])
def test_without_a_kit_nobody_speaks_to_the_server(root: Path, command: str) -> None:
    argument = {"submit": ["tiny-triage"], "list": []}.get(command, ["an-id"])
    done = cloister("job", command, *argument, "-C", root, "--json")
    assert done.status == 1
    assert done.error["message"] == "`ada@research.example` has no kit yet"


@pytest.mark.parametrize("command", [("run",), ("job", "submit"), ("job", "explain")])
def test_an_unknown_job_is_a_usage_error_everywhere(root: Path, command: tuple[str, ...]) -> None:
    done = cloister(*command, "no-such-job", "-C", root, "--json")
    assert (done.status, done.error["message"]) == (2, "there is no job `no-such-job`")
    assert not (root / ".cloister").exists()


@pytest.mark.parametrize("command", ["submit", "watch", "list", "abort", "fetch"])
def test_an_unknown_person_is_a_usage_error_everywhere(root: Path, command: str) -> None:
    argument = {"submit": ["tiny-triage"], "list": []}.get(command, ["an-id"])
    done = cloister("job", command, *argument, "-C", root, "--as", "eve@bank.example", "--json")
    assert (done.status, done.error["message"]) == (2, "`eve@bank.example` is not in the roster")


@pytest.mark.parametrize("hours", ["0", "-1", "169", "1.5", "a day"])
def test_a_submission_counts_for_hours_within_a_week(root: Path, hours: str) -> None:
    done = cloister("job", "submit", "tiny-triage", f"--valid-hours={hours}", "-C", root)
    assert done.status == 2
    assert "valid-hours" in done.err
