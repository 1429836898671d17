# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import InvalidDocumentsError, UsageError
from cloister.repository import find_root, load_repository, load_site
from tests.policies.world import Tree, World, text_of

ROSTER = "provisioning/federation.yaml"
FEDERATION: Tree = {
    "federation": "reference",
    "server": {"name": "coordinator", "organisation": "research-institute"},
    "sites": [
        {"name": "hospital-north", "organisation": "northfield-hospital"},
        {"name": "hospital-river", "organisation": "riverside-clinics"},
    ],
    "people": [
        {"name": "ada@research.example", "organisation": "research-institute", "role": "data-scientist"},
        {"name": "alan@research.example", "organisation": "other-institute", "role": "it-admin"},
    ],
}


class Folder:
    """A federation's folder: documents as trees that a test changes before they are written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        world = World()
        world.site["datasets"].pop("letters")
        self.trees: dict[str, Tree] = {
            ROSTER: copy.deepcopy(FEDERATION),
            "policies/baseline.yaml": world.baseline,
            "jobs/triage-notes.yaml": world.job,
        }
        for site, organisation in (("hospital-north", "northfield-hospital"), ("hospital-river", "riverside-clinics")):
            self.trees[f"silos/{site}.yaml"] = {
                **copy.deepcopy(world.silo),
                "site": site,
                "organisation": organisation,
            }
            self.trees[f"policies/{site}.yaml"] = {**copy.deepcopy(world.site), "policy": site}
        self.texts: dict[str, str] = {}

    def write(self) -> Path:
        for name, tree in self.trees.items():
            self.texts.setdefault(name, text_of(tree).decode())
        for name, text in self.texts.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return self.root

    def problems(self) -> list[str]:
        """Every problem, with its line's text in the place of the number: `file: [text] message (hint)`."""
        root = self.write()
        with pytest.raises(InvalidDocumentsError) as caught:
            load_repository(root)
        return [self._shown(problem.file, problem.line, str(problem)) for problem in caught.value.problems]

    def _shown(self, file: str, line: int, sentence: str) -> str:
        if not line:
            return sentence
        lines = (self.root / file).read_text(encoding="utf-8").splitlines()
        text = lines[line - 1].strip() if line <= len(lines) else ""
        return sentence.replace(f"{file}:{line}:", f"{file}: [{text}]", 1)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


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


NORTH, RIVER = "policies/hospital-north.yaml", "silos/hospital-river.yaml"
JOB = "jobs/triage-notes.yaml"
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
        [f"{NORTH}: [- scientist] `submitters.roles.0` should be 'data-scientist', 'compliance-officer' or 'it-admin'"],
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
            f"(the other is {RIVER}:1; keep one)"
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
