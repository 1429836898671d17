# SPDX-License-Identifier: Apache-2.0
"""Commands on a machine of somebody who has joined, which holds the documents of the sites on it and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import cloister
from tests.federation_folder import OFFICER, PERSON, change_document, make_federation


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_federation(tmp_path / "federation")


def at_site(root: Path, site: str) -> Path:
    """Make ``root`` what it is at ``site``: its workspace, and nobody else's documents."""
    (root / ".cloister" / "sites" / site).mkdir(parents=True)
    keep_only(root, {site})
    return root


def at_person(root: Path, sites: set[str]) -> Path:
    """Make ``root`` what it is at a data scientist's, to whom ``sites`` have sent their documents."""
    (root / ".cloister" / "people" / PERSON).mkdir(parents=True)
    keep_only(root, sites)
    return root


def keep_only(root: Path, sites: set[str]) -> None:
    for folder in ("silos", "policies"):
        for path in (root / folder).glob("*.yaml"):
            if path.stem not in {*sites, "baseline"}:
                path.unlink()


def test_a_sites_own_documents_are_enough_for_it(root: Path) -> None:
    at_site(root, "beta")
    done = cloister("check", "-C", root, "--json")
    assert done.status == 0, done.err
    assert (done.value["silos"], done.value["policies"]) == (1, 2)


def test_cases_of_other_sites_are_put_to_them_elsewhere(root: Path) -> None:
    at_site(root, "beta")
    done = cloister("policy", "test", "-C", root, "--json")
    assert done.status == 0, done.err
    assert {case["site"] for case in done.value["results"]} == {"beta"}


def test_a_site_misses_its_own_documents_all_the_same(root: Path) -> None:
    at_site(root, "beta")
    (root / "policies/beta.yaml").unlink()
    done = cloister("check", "-C", root)
    assert done.status == 4
    assert "site `beta` has no policy" in done.err
    assert "alpha" not in done.err


def test_a_case_at_a_site_that_nobody_knows_is_a_mistake_everywhere(root: Path) -> None:
    at_site(root, "beta")
    path = root / "policies/cases/purpose.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("- alpha", "- alpah"), encoding="utf-8")
    done = cloister("check", "-C", root)
    assert done.status == 4
    assert "there is no site `alpah`" in done.err


def test_a_data_scientist_asks_those_who_sent_their_documents(root: Path) -> None:
    at_person(root, {"alpha", "gamma"})
    done = cloister("job", "explain", "tiny-triage", "-C", root)
    assert done.status == 0, done.err
    assert done.out.splitlines()[0].split() == ["rule", "alpha", "gamma"]
    assert "beta: its documents are not in this folder; it answers when the job is submitted" in done.out
    assert f"2 of 3 sites would accept tiny-triage from {PERSON}" in done.out


def test_who_says_no_and_who_may_still_say_yes(root: Path) -> None:
    at_person(root, {"alpha", "gamma"})
    change_document(root, "policies/alpha.yaml", {"purposes": ["service-improvement"]})
    done = cloister("job", "explain", "tiny-triage", "-C", root, "--json")
    assert done.status == 0, done.err  # gamma, and perhaps beta, are the two that it needs
    assert done.value["beta"] is None
    assert done.value["alpha"]["allowed"] is False
    change_document(root, "policies/gamma.yaml", {"purposes": ["service-improvement"]})
    assert cloister("job", "explain", "tiny-triage", "-C", root).status == 3


def test_a_policy_alone_is_explained_and_answers_no_job(root: Path) -> None:
    at_person(root, {"alpha"})
    (root / "silos/alpha.yaml").unlink()
    assert cloister("policy", "explain", "alpha", "-C", root).status == 0
    done = cloister("policy", "explain", "alpha", "--job", "tiny-triage", "-C", root)
    assert (done.status, "the silo of `alpha` is not in this folder" in done.err) == (2, True)


def test_a_job_that_names_no_sites_asks_nobody_by_guesswork(root: Path) -> None:
    at_person(root, set())
    change_document(root, "jobs/tiny-triage.yaml", {"federation": {"sites": None}})
    done = cloister("job", "submit", "tiny-triage", "-C", root)
    assert done.status == 2
    assert "which sites `tiny-triage` asks cannot be told from the documents here" in done.err


@pytest.mark.parametrize("command", [("check",), ("authority", "init")])
def test_a_port_that_nobody_else_could_know_is_told_before_anything_is_signed(
    root: Path, command: tuple[str, ...]
) -> None:
    change_document(root, "provisioning/federation.yaml", {"server": {"host": "coordinator.example"}})
    done = cloister(*command, "-C", root)
    assert done.status != 0
    assert "`port` is `auto`, which only the server's own machine knows" in done.err
    assert "sites are to dial `coordinator.example`" in done.err
    assert not (root / ".cloister" / "authority").exists()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_on_one_machine_any_port_will_do(root: Path, host: str) -> None:
    change_document(root, "provisioning/federation.yaml", {"server": {"host": host}})
    assert cloister("check", "-C", root).status == 0


@pytest.mark.parametrize("kind", ["authority", "server"])
def test_authority_and_server_need_no_sites_documents(root: Path, kind: str) -> None:
    (root / ".cloister" / kind).mkdir(parents=True)
    keep_only(root, set())
    assert cloister("check", "-C", root).status == 0


def test_a_policy_without_its_cases_is_valid_where_it_is_used_and_not_where_all_are(root: Path) -> None:
    for path in (root / "policies/cases").glob("*.yaml"):
        path.unlink()
    assert cloister("check", "-C", root).status == 4
    at_site(root, "beta")
    done = cloister("check", "-C", root)
    assert done.status == 0, done.err
    assert "no case can be put to a policy here" in done.out
    assert cloister("policy", "check", "-C", root).status == 4


@pytest.mark.parametrize(("keys", "who"), [([OFFICER], OFFICER), ([PERSON], PERSON), ([OFFICER, PERSON], PERSON)])
def test_whoever_has_the_only_key_here_is_meant(root: Path, keys: list[str], who: str) -> None:
    for name in keys:
        startup = root / ".cloister/people" / name / "startup"
        startup.mkdir(parents=True)
        (startup / "client.key").touch()
    done = cloister("job", "list", "-C", root)
    assert done.status != 0
    assert f"people/{who}/" in done.err
