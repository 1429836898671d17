# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import cloister
from tests.federation_folder import change_document, make_federation


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_federation(tmp_path / "federation")


def new(root: Path, name: str, changes: dict[str, Any]) -> Path:
    """A policy of ``root`` as it is to become, in a folder beside."""
    folder = root.parent / "new"
    folder.mkdir(exist_ok=True)
    shutil.copy(root / "policies" / name, folder / name)
    return change_document(folder, name, changes)


def changes(root: Path, old: Path, to: Path) -> list[dict[str, Any]]:
    done = cloister("policy", "diff", old, to, "-C", root, "--json")
    assert done.status == 0, done.err
    found: list[dict[str, Any]] = done.value["changes"]
    return found


def test_nothing_changes_where_only_words_do(root: Path) -> None:
    old, to = root / "policies/alpha.yaml", new(root, "alpha.yaml", {"owner": "somebody else", "version": 2})
    assert changes(root, old, to) == []
    assert "0 decisions change of 15" in cloister("policy", "diff", old, to, "-C", root).out


def test_what_was_denied_and_is_allowed_now(root: Path) -> None:
    to = new(root, "alpha.yaml", {"methods": {"lora": {"maximum_rank": 16}}})
    (change,) = changes(root, root / "policies/alpha.yaml", to)
    assert (change["site"], change["before"]["allowed"], change["after"]["allowed"]) == ("alpha", False, True)
    done = cloister("policy", "diff", root / "policies/alpha.yaml", to, "-C", root)
    assert "at alpha: was denied by `method`, now allowed" in done.out


def test_what_was_allowed_and_is_denied_now_with_the_line(root: Path) -> None:
    to = new(root, "alpha.yaml", {"training": {"maximum_rounds": 1}})
    done = cloister("policy", "diff", root / "policies/alpha.yaml", to, "-C", root)
    number = next(n for n, line in enumerate(to.read_text().splitlines(), 1) if "maximum_rounds" in line)
    said = f"at alpha: was allowed, now denied by `training` ({to}:{number})"
    assert any(line.startswith("job `tiny-triage` from") and said in line for line in done.out.splitlines())


def test_a_baseline_concerns_every_site(root: Path) -> None:
    to = new(root, "baseline.yaml", {"aggregation": {"minimum_sites": 3}})
    assert {each["site"] for each in changes(root, root / "policies/baseline.yaml", to)} == {"alpha", "beta", "gamma"}


def test_folders_of_policies(root: Path) -> None:
    new(root, "beta.yaml", {"purposes": ["research"]})
    to = new(root, "alpha.yaml", {})
    found = changes(root, root / "policies", shutil.copytree(root / "policies", root.parent / "same"))
    assert found == []
    shutil.copy(root.parent / "new" / "beta.yaml", root.parent / "same" / "beta.yaml")
    assert {each["site"] for each in changes(root, root / "policies", root.parent / "same")} == {"beta"}
    # A site whose policy is not in the new folder has none there, which denies.
    (root.parent / "same" / "alpha.yaml").unlink()
    assert {each["site"] for each in changes(root, root / "policies", root.parent / "same")} == {"alpha", "beta"}
    assert to.is_file()


def test_policies_of_two_sites_cannot_be_compared(root: Path) -> None:
    done = cloister("policy", "diff", root / "policies/alpha.yaml", root / "policies/beta.yaml", "-C", root)
    assert done.status == 2
    assert "the policy of one site" in done.err


def test_two_files_of_one_policy_in_a_folder_are_told(root: Path) -> None:
    (root / "policies" / "old").mkdir()
    shutil.copy(root / "policies/alpha.yaml", root / "policies/old/alpha.yaml")
    folder = shutil.copytree(root / "policies", root.parent / "two")
    shutil.rmtree(root / "policies" / "old")
    done = cloister("policy", "diff", root / "policies", folder, "-C", root)
    assert done.status == 2
    assert f"`{folder}/old/alpha.yaml` is a second policy of `alpha`" in done.err
    assert f"the other is `{folder}/alpha.yaml`" in done.err


def test_a_file_that_is_not_there_and_one_that_is_no_policy(root: Path) -> None:
    old = root / "policies/alpha.yaml"
    assert cloister("policy", "diff", old, root / "nope.yaml", "-C", root).status == 2
    assert cloister("policy", "diff", old, root / "jobs/tiny-triage.yaml", "-C", root).status == 4
