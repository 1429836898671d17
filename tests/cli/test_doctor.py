# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from cloister.doctor import CODES
from tests.cli.commands import cloister
from tests.doctor.conftest import keys, pristine, strangers, world
from tests.doctor.world import World

__all__ = ["keys", "pristine", "strangers", "world"]


def test_where_nothing_is_wrong_the_status_is_0_and_every_look_has_a_line(world: World) -> None:
    with world.serving():
        done = cloister("doctor", "alpha", "-C", world.root)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("this machine\n  ")
    assert "\nalpha (site)\n  ok       D0600  key and certificate are in order" in done.out
    assert "\nno problems, " in done.out


def test_a_problem_is_told_with_what_to_do_and_status_5(world: World) -> None:
    (world.startup / "client.key").chmod(0o644)
    done = cloister("doctor", "alpha", "-C", world.root)
    assert done.status == 5
    assert "PROBLEM  D0603  the key `" in done.out
    assert f"\n{'':<18}chmod 600 " in done.out
    assert done.err.startswith("cloister: doctor found 2 problems")


def test_for_programs_there_is_one_value_also_where_there_are_problems(world: World) -> None:
    (world.root / "records" / "alpha.csv").unlink()
    done = cloister("doctor", "-C", world.root, "--json")
    assert done.status == 5
    value = done.value
    assert set(value) == {"problems", "warnings", "subjects"}
    assert value["problems"] == 1
    subjects = {each["name"]: each for each in value["subjects"]}
    assert {name: each["kind"] for name, each in subjects.items()} == {
        "this machine": "machine",
        "alpha": "site",
        "ada@research.example": "person",
        "olga@research.example": "person",
    }
    findings = [finding for each in subjects.values() for finding in each["findings"]]
    assert all(set(each) == {"code", "level", "message", "hint"} for each in findings)
    assert all(CODES[each["code"]].level == each["level"] for each in findings)
    assert [each["code"] for each in findings if each["level"] == "problem"] == ["D1201"]
    assert "PROBLEM" in done.err


def test_whom_nobody_knows_is_a_mistake_of_the_command_line(world: World) -> None:
    done = cloister("doctor", "nobody", "-C", world.root, "--json")
    assert done.status == 2
    assert done.error["message"] == "`nobody` is not in provisioning/federation.yaml, and has no key here"


def test_without_a_roster_s_document_that_can_be_read_there_is_nobody_to_look_at(world: World) -> None:
    (world.root / "provisioning" / "federation.yaml").write_text("federation: [")
    assert cloister("doctor", "-C", world.root).status == 4


@pytest.mark.parametrize("name", ["alpha", "coordinator"])
def test_before_anything_is_made_a_doctor_tells_what_is_missing(tmp_path: Path, world: World, name: str) -> None:
    (world.root / ".cloister").rename(tmp_path / "away")
    done = cloister("doctor", name, "-C", world.root, "--json")
    assert done.status == 5
    told = [each["code"] for subject in done.value["subjects"] for each in subject["findings"]]
    assert {"D0601", "D0702"} <= set(told)
