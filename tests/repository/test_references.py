# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import InvalidDocumentsError
from cloister.repository import load_repository
from tests.repository.folder import JOB, NORTH, RIVER, ROSTER, Folder


def change(name: str, *path: str | int, to: Any) -> Callable[[Folder], None]:
    def edit(folder: Folder) -> None:
        inner: Any = folder.trees[name]
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to

    return edit


def move(old: str, new: str) -> Callable[[Folder], None]:
    def edit(folder: Folder) -> None:
        folder.trees[new] = folder.trees.pop(old)

    return edit


CASES: dict[str, tuple[Callable[[Folder], None], list[str]]] = {
    "a site without a silo": (
        lambda folder: folder.trees.pop(RIVER) and None,
        [
            f"{JOB}: [minimum_sites: 2] needs 2 sites, and 1 could take part "
            "(sites whose silo has the dataset `clinical-notes` could)",
            f"{ROSTER}: [- name: hospital-river] site `hospital-river` has no silo (write `{RIVER}`)",
        ],
    ),
    "a site without a policy": (
        lambda folder: folder.trees.pop(NORTH) and None,
        [f"{ROSTER}: [- name: hospital-north] site `hospital-north` has no policy (write `{NORTH}`)"],
    ),
    "no baseline": (
        lambda folder: folder.trees.pop("policies/baseline.yaml") and None,
        [
            "policies/baseline.yaml: is missing "
            "(without a floor nothing is decided; one that states nothing but its dates will do)"
        ],
    ),
    "an organisation that differs": (
        change(RIVER, "organisation", to="riverside"),
        [
            f"{RIVER}: [organisation: riverside] organisation `riverside` is not the one in the roster, "
            f"`riverside-clinics` (make this line and {ROSTER}:9 agree)"
        ],
    ),
    "a job for a site that nobody knows": (
        change(JOB, "federation", "sites", to=["hospital-north", "hospital-river", "hospital-rivet"]),
        [
            f"{JOB}: [- hospital-rivet] site `hospital-rivet` is not in {ROSTER} (did you mean `hospital-river`?)",
        ],
    ),
    "a policy's dataset that the silo has not": (
        change(NORTH, "datasets", "clinical-note", to={"columns": ["note"], "minimum_records": 5}),
        [
            f"{NORTH}: [clinical-note:] silos/hospital-north.yaml has no dataset `clinical-note` "
            "(did you mean `clinical-notes`?)"
        ],
    ),
    "a policy's column that the silo has not": (
        change(NORTH, "datasets", "clinical-notes", "columns", to=["note", "triage", "zip"]),
        [f"{NORTH}: [- zip] silos/hospital-north.yaml:11 has no column `zip` (declare it there, or take it out here)"],
    ),
    "a policy's filter by a column that the silo has not": (
        change(NORTH, "datasets", "clinical-notes", "filter", to="triag == 'urgent'"),
        [
            f"{NORTH}: [filter: triag == 'urgent'] the filter does not fit what silos/hospital-north.yaml:11 declares: "
            "there is no column `triag` (nearest is `triage`)"
        ],
    ),
    "a policy's filter by free text": (
        change(NORTH, "datasets", "clinical-notes", "filter", to="note == 'x'"),
        [
            f"{NORTH}: [filter: note == 'x'] the filter does not fit what silos/hospital-north.yaml:11 declares: "
            "column `note` is of kind text, and rows are not filtered by such"
        ],
    ),
    "a policy's rows by a column that the silo has not": (
        change(NORTH, "datasets", "clinical-notes", "rows", to={"triag": ["urgent"]}),
        [f"{NORTH}: [triag:] silos/hospital-north.yaml:11 has no column `triag` (did you mean `triage`?)"],
    ),
    "a policy's person that nobody knows": (
        change(NORTH, "submitters", "people", to=["adda@research.example"]),
        [
            f"{NORTH}: [- adda@research.example] person `adda@research.example` is not in {ROSTER} "
            "(did you mean `ada@research.example`?)"
        ],
    ),
    "a baseline's organisation that nobody knows": (
        change("policies/baseline.yaml", "submitters", "organisations", to=["zzz"]),
        [
            f"policies/baseline.yaml: [- zzz] organisation `zzz` is not in {ROSTER} "
            "(add it to the roster, or take it out here)"
        ],
    ),
    "a role that does not exist": (
        change(NORTH, "submitters", "roles", to=["scientist"]),
        [
            f"{NORTH}: [- scientist] an entry of `submitters.roles` should be "
            "'data-scientist', 'compliance-officer' or 'it-admin'"
        ],
    ),
    "a job's dataset that no site has": (
        change(JOB, "dataset", "name", to="clinical-nots"),
        [f"{JOB}: [name: clinical-nots] no site has a dataset `clinical-nots` (did you mean `clinical-notes`?)"],
    ),
    "a job's base model that no site has": (
        change(JOB, "base_model", "name", to="zzz"),
        [f"{JOB}: [name: zzz] no site has a base model `zzz` (name one that a silo has a place for)"],
    ),
    "a job that needs more sites than there are": (
        change(JOB, "federation", "minimum_sites", to=3),
        [
            f"{JOB}: [minimum_sites: 3] needs 3 sites, and 2 could take part "
            "(sites whose silo has the dataset `clinical-notes` could)"
        ],
    ),
    "a silo under another name": (
        move(RIVER, "silos/river.yaml"),
        [
            "silos/river.yaml: [site: hospital-river] is named otherwise than the `hospital-river` it holds "
            "(rename the file to `hospital-river.yaml`, or correct the name)"
        ],
    ),
    "a policy under another name": (
        move(NORTH, "policies/north.yaml"),
        [
            "policies/north.yaml: [policy: hospital-north] is named otherwise than the `hospital-north` it holds "
            "(rename the file to `hospital-north.yaml`, or correct the name)"
        ],
    ),
    "a job under another name": (
        move(JOB, "jobs/notes.yaml"),
        [
            "jobs/notes.yaml: [job: triage-notes] is named otherwise than the `triage-notes` it holds "
            "(rename the file to `triage-notes.yaml`, or correct the name)"
        ],
    ),
    "two documents for one site": (
        lambda folder: folder.trees.update({"silos/z/hospital-river.yaml": folder.trees[RIVER]}),
        [
            "silos/z/hospital-river.yaml: [site: hospital-river] is a second document for `hospital-river` "
            f"(the other is {RIVER}:2; keep one)"
        ],
    ),
    "two documents for one job": (
        lambda folder: folder.trees.update({"jobs/z/triage-notes.yaml": folder.trees[JOB]}),
        [
            "jobs/z/triage-notes.yaml: [job: triage-notes] is a second document for `triage-notes` "
            f"(the other is {JOB}:1; keep one)"
        ],
    ),
    "a file that ends otherwise": (
        lambda folder: folder.texts.update({"policies/hospital-hill.yml": "policy: hospital-hill"}),
        ["policies/hospital-hill.yml: ends in `.yml` (rename it to `hospital-hill.yaml`; it is not read as it is)"],
    ),
    "a file that ends in capitals": (
        lambda folder: folder.texts.update({"jobs/x.YAML": "job: x"}),
        ["jobs/x.YAML: ends in `.YAML` (rename it to `x.yaml`; it is not read as it is)"],
    ),
    "a stray document beside the roster": (
        lambda folder: folder.texts.update({"provisioning/people.yaml": "people: []"}),
        [f"provisioning/people.yaml: is not a document that is read (only `{ROSTER}` is)"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_names_what_does_not_agree(folder: Folder, case: str) -> None:
    edit, expected = CASES[case]
    edit(folder)
    assert folder.problems() == expected


@pytest.mark.parametrize("kind", ["silos", "policies"])
def test_a_site_that_is_not_in_the_roster(folder: Folder, kind: str) -> None:
    key = "site" if kind == "silos" else "policy"
    folder.trees[f"{kind}/hospital-hill.yaml"] = {**folder.trees[f"{kind}/hospital-north.yaml"], key: "hospital-hill"}
    (problem,) = folder.problems()
    assert problem.startswith(f"{kind}/hospital-hill.yaml: [{key}: hospital-hill] site `hospital-hill` is not in")


@pytest.mark.parametrize("named", [True, False])
def test_only_targeted_sites_count_for_a_job(folder: Folder, named: bool) -> None:
    folder.trees[RIVER]["datasets"]["letters"] = folder.trees[RIVER]["datasets"].pop("clinical-notes")
    folder.trees["policies/hospital-river.yaml"]["datasets"] = {
        "letters": {"columns": ["note"], "minimum_records": 10},
    }
    folder.trees[RIVER]["base_models"] = {}
    plan = {"rounds": 1, "minimum_sites": 1, "sites": ["hospital-river"]}
    if not named:
        del plan["sites"]
    folder.trees[JOB]["federation"] = plan
    if not named:
        assert load_repository(folder.write()).sites_of(load_repository(folder.root).jobs["triage-notes"].value) == (
            "hospital-north",
        )
        return
    assert [problem.split("] ")[1].split(" (")[0] for problem in folder.problems()] == [
        "none of its sites has a base model `all-minilm-l6-v2`",
        "none of its sites has a dataset `clinical-notes`",
    ]


@pytest.mark.parametrize("here", [True, False])
def test_too_many_sites_are_asked_for_where_keys_lie_only_if_every_silo_does(folder: Folder, here: bool) -> None:
    (folder.root / ".cloister" / "sites" / "hospital-north").mkdir(parents=True)
    folder.trees[JOB]["federation"] = {"rounds": 1, "minimum_sites": 3}
    if not here:
        folder.trees.pop(RIVER)
        folder.trees.pop("policies/hospital-river.yaml")
        load_repository(folder.write())
        return
    (problem,) = folder.problems()
    assert "needs 3 sites, and 2 could take part" in problem


def test_every_organisation_of_the_roster_may_be_named(folder: Folder) -> None:
    """Those of the server, of a person and of a site; only people ask, yet an organisation may gain one any day."""
    folder.trees[ROSTER]["server"]["organisation"] = "host-institute"
    folder.trees[NORTH]["submitters"]["organisations"] = ["host-institute", "other-institute", "riverside-clinics"]
    folder.trees["policies/baseline.yaml"]["submitters"] = {"roles": ["data-scientist"]}
    load_repository(folder.write())


def test_all_problems_of_all_files_at_once(folder: Folder) -> None:
    folder.trees[RIVER]["organisation"] = "riverside"
    folder.trees[RIVER]["colour"] = "red"
    folder.trees[NORTH]["version"] = "one"
    folder.trees["policies/baseline.yaml"]["submitters"]["people"] = ["eve@research.example"]
    folder.trees[JOB]["federation"]["rounds"] = 0
    folder.texts["jobs/b.yml"] = ""
    folder.texts["jobs/c.yaml"] = "job: [unclosed"
    files = [problem.split(":")[0] for problem in folder.problems()]
    assert files == ["jobs/b.yml", "jobs/c.yaml", JOB, "policies/baseline.yaml", NORTH, RIVER]


def test_a_file_that_cannot_be_read_is_its_own_problem_alone(folder: Folder) -> None:
    """Nothing is said of a missing silo, a job without its dataset or too few sites: the file may hold them."""
    folder.texts[RIVER] = "site: [\n"
    folder.texts[NORTH] = "policy: hospital-north\n"
    folder.texts["policies/baseline.yaml"] = "\n"
    problems = folder.problems()
    assert {problem.split(":")[0] for problem in problems} == {RIVER, NORTH, "policies/baseline.yaml"}
    following = ("is missing", "has no silo", "has no policy", "no site has", "could take part")
    assert not [problem for problem in problems if any(words in problem for words in following)]


@pytest.mark.parametrize("text", ["federation: [", None])
def test_without_a_roster_the_other_files_problems_are_still_told(folder: Folder, text: str | None) -> None:
    if text is None:
        del folder.trees[ROSTER]
    else:
        folder.texts[ROSTER] = text
    folder.trees[NORTH]["version"] = 0
    folder.trees[JOB]["dataset"]["name"] = "x-rays"
    files = [problem.split(":")[0] for problem in folder.problems()]
    assert files == [JOB, NORTH, ROSTER]


def test_an_empty_folder_has_no_roster_and_no_baseline(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocumentsError) as caught:
        load_repository(tmp_path)
    assert [problem.file for problem in caught.value.problems] == ["policies/baseline.yaml", ROSTER]


def test_a_folder_in_the_place_of_a_document(folder: Folder) -> None:
    (folder.root / "jobs" / "x.yaml").mkdir(parents=True)
    assert folder.problems() == ["jobs/x.yaml: cannot be read: is a directory"]
