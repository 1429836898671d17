# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest

from cloister.errors import InvalidDocumentsError, UsageError
from cloister.repository import find_root, load_repository, load_site
from tests.repository.folder import JOB, NORTH, RIVER, ROSTER, Folder


def test_reads_the_four_folders(folder: Folder) -> None:
    repository = load_repository(folder.write())
    assert repository.root == folder.root
    assert repository.federation.value.federation == "reference"
    assert set(repository.silos) == {"hospital-north", "hospital-river"}
    assert set(repository.jobs) == {"triage-notes"}
    assert set(repository.policies) == {"baseline", "hospital-north", "hospital-river"}
    assert repository.jobs["triage-notes"].source.file == "jobs/triage-notes.yaml"


def test_is_frozen(folder: Folder) -> None:
    repository = load_repository(folder.write())
    with pytest.raises(TypeError):
        repository.silos["x"] = repository.silos["hospital-north"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        repository.root = Path()  # type: ignore[misc]


def test_reads_folders_inside_folders(folder: Folder) -> None:
    folder.trees["jobs/2026/spring/triage-notes.yaml"] = folder.trees.pop("jobs/triage-notes.yaml")
    folder.trees["silos/north/hospital-north.yaml"] = folder.trees.pop("silos/hospital-north.yaml")
    repository = load_repository(folder.write())
    assert repository.jobs["triage-notes"].source.file == "jobs/2026/spring/triage-notes.yaml"
    assert load_site(folder.root, "hospital-north").silo.source.file == "silos/north/hospital-north.yaml"


def test_policies_of_a_site(folder: Folder) -> None:
    repository = load_repository(folder.write())
    policies = repository.policies_of("hospital-river")
    assert (policies.site.value.policy, policies.baseline.value.policy) == ("hospital-river", "baseline")
    for nobody in ("baseline", "hospital-hill"):
        with pytest.raises(UsageError, match="has no policy"):
            repository.policies_of(nobody)


def test_sites_of_a_job(folder: Folder) -> None:
    hill = {**copy.deepcopy(folder.trees["silos/hospital-river.yaml"]), "site": "hospital-hill"}
    hill["datasets"] = {"letters": hill["datasets"]["clinical-notes"]}
    folder.trees["silos/hospital-hill.yaml"] = hill
    folder.trees["policies/hospital-hill.yaml"] = {
        **folder.trees["policies/hospital-north.yaml"],
        "policy": "hospital-hill",
        "datasets": {"letters": {"columns": ["note"], "minimum_records": 10}},
    }
    folder.trees[ROSTER]["sites"].append({"name": "hospital-hill", "organisation": "riverside-clinics"})
    repository = load_repository(folder.write())
    job = repository.jobs["triage-notes"].value
    assert repository.sites_of(job) == ("hospital-north", "hospital-river")
    named = job.federation.model_copy(update={"sites": ("hospital-river", "hospital-hill")})
    assert repository.sites_of(job.model_copy(update={"federation": named})) == ("hospital-hill", "hospital-river")


def test_finds_the_root_from_anywhere_inside(folder: Folder) -> None:
    root = folder.write()
    assert find_root(root) == root.resolve()
    assert find_root(root / "jobs") == root.resolve()


def test_says_where_it_looked_for_the_root(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find_root(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert ROSTER in caught.value.hint


def test_a_site_reads_its_own_documents_and_no_others(folder: Folder) -> None:
    root = folder.write()
    for name in (ROSTER, JOB, RIVER, "policies/hospital-river.yaml"):
        (root / name).write_text("broken: [", encoding="utf-8")
    site = load_site(root, "hospital-north")
    assert site.silo.value.site == "hospital-north"
    assert site.policies.site.value.policy == "hospital-north"
    assert site.policies.baseline.value.is_baseline


def test_a_site_reads_them_anew_each_time(folder: Folder) -> None:
    before = load_site(folder.write(), "hospital-north").policies
    text = folder.texts[NORTH].replace("version: 1", "version: 2")
    (folder.root / NORTH).write_text(text, encoding="utf-8")
    after = load_site(folder.root, "hospital-north").policies
    assert (before.site.value.version, after.site.value.version) == (1, 2)
    assert before.digest != after.digest


@pytest.mark.parametrize("name", ["silos/hospital-north.yaml", NORTH, "policies/baseline.yaml"])
def test_a_site_starts_nothing_without_one_of_them(folder: Folder, name: str) -> None:
    (folder.write() / name).unlink()
    with pytest.raises(InvalidDocumentsError, match=f"{name}: is missing"):
        load_site(folder.root, "hospital-north")


@pytest.mark.parametrize(
    ("name", "other"),
    [("silos/hospital-north.yaml", RIVER), (NORTH, "policies/hospital-river.yaml"), ("policies/baseline.yaml", NORTH)],
)
def test_a_site_does_not_read_another_document_under_its_name(folder: Folder, name: str, other: str) -> None:
    folder.trees[name] = folder.trees[other]
    with pytest.raises(InvalidDocumentsError, match="is named otherwise than"):
        load_site(folder.write(), "hospital-north")


def test_a_site_does_not_choose_between_two_documents(folder: Folder) -> None:
    folder.trees["policies/old/hospital-north.yaml"] = folder.trees[NORTH]
    with pytest.raises(InvalidDocumentsError, match="is a second document for `hospital-north`"):
        load_site(folder.write(), "hospital-north")


@pytest.mark.parametrize("site", ["", "*", "../silos/hospital-north", "/etc/passwd", "hospital-hill", "baseline"])
def test_a_site_that_is_none_has_no_documents(folder: Folder, site: str) -> None:
    with pytest.raises(InvalidDocumentsError, match="is missing"):
        load_site(folder.write(), site)
