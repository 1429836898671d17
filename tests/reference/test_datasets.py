# SPDX-License-Identifier: Apache-2.0
"""Every dataset of every reference site opens, and gives each job that asks for it the view that its policy allows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from pyarrow import parquet

from cloister.policies import Decision, Request, Submitter, ViewFacts, decide
from cloister.records import TRAINING, VALIDATION, ViewManifest, ViewRequest, open_store, write_view
from cloister.reference import make_records
from cloister.reference.accounts import BANK_SITES
from cloister.reference.heart import HEART_SITES, HeartSite, heart_patients
from cloister.reference.letters import LETTER_SITES
from cloister.reference.medications import MEDICATION_SITES
from cloister.reference.pictures import PICTURE_SITES, PictureSite
from cloister.repository import Repository, load_repository
from tests.test_reference_documents import ASKED, NOW

pytestmark = pytest.mark.slow  # real files by the hundred

ROOT = Path(__file__).resolve().parents[2]

CHILDREN = {"heart": 4, "accounts": 5}
ROWS = {
    **{("heart", site.site): site.patients + CHILDREN["heart"] for site in HEART_SITES},
    **{("scans", site.site): site.scans for site in PICTURE_SITES},
    **{("lesions", site.site): site.lesions for site in PICTURE_SITES},
    **{("medications", site.site): site.notes for site in MEDICATION_SITES},
    **{("letters", site.site): site.letters for site in LETTER_SITES},
    **{("accounts", site.site): site.customers + CHILDREN["accounts"] for site in BANK_SITES},
}
JOBS = [
    (job, site) for job, sites in ASKED.items() for site in sites if job not in ("triage-notes", "complaint-routing")
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A federation's folder with the records where the silo documents look for them."""
    folder = tmp_path_factory.mktemp("federation")
    make_records(folder / "demo" / "records")
    return folder


@pytest.fixture(scope="module")
def repository() -> Repository:
    return load_repository(ROOT)


def view_of(repository: Repository, job: str, site: str, root: Path, folder: Path) -> ViewManifest:
    """The view that a site would write for a job, under both policies."""
    document, policies = repository.jobs[job].value, repository.policies_of(site)
    name = document.dataset.name
    free_text = policies.free_text(name)
    request = ViewRequest(document.dataset, document.seed, policies.row_filter(name), free_text or "mask")
    dataset = repository.silos[site].value.datasets[name]
    return write_view(dataset, request, key=bytes(32), root=root, folder=folder, name=name)


def decided(repository: Repository, job: str, site: str, manifest: ViewManifest) -> Decision:
    sides = [{label: counts[side] for label, counts in manifest.classes.items()} for side in (TRAINING, VALIDATION)]
    facts = ViewFacts(
        manifest.training,
        sides[0],
        validation=manifest.validation,
        validation_classes=sides[1],
        people=(manifest.people or {}).get(TRAINING),
    )
    ada = Submitter("ada@research.example", "research-institute", "data-scientist")
    request = Request(site, ada, repository.jobs[job], repository.silos[site], view=facts)
    return decide(request, repository.policies_of(site), NOW)


@pytest.mark.parametrize(("job", "site"), JOBS)
def test_each_job_gets_a_view_that_policies_allow(
    repository: Repository, root: Path, tmp_path: Path, job: str, site: str
) -> None:
    name = repository.jobs[job].value.dataset.name
    manifest = view_of(repository, job, site, root, tmp_path / "view")
    assert (manifest.rows, manifest.rejected, manifest.cut) == (ROWS[name, site], 0, 0)
    assert manifest.filtered == CHILDREN.get(name, 0)
    assert manifest.training + manifest.validation == manifest.rows - manifest.filtered
    assert manifest.people is not None
    decision = decided(repository, job, site, manifest)
    assert decision.allowed, decision.sentence()
    columns = parquet.read_schema(tmp_path / "view" / "train.parquet").names
    assert set(columns) == {column for _, column, _ in repository.jobs[job].value.dataset.columns}
    assert b"SYN-" not in (tmp_path / "view" / "train.parquet").read_bytes()


@pytest.mark.parametrize("job", sorted({job for job, _ in JOBS}))
def test_all_sites_together_are_enough_for_a_result(
    repository: Repository, root: Path, tmp_path: Path, job: str
) -> None:
    needed = repository.policies["baseline"].value.release
    assert needed is not None
    assert needed.minimum_records is not None
    training = [view_of(repository, job, site, root, tmp_path / site).training for site in ASKED[job]]
    assert sum(sorted(training)[:2]) < sum(training)
    assert sum(training) >= needed.minimum_records


@pytest.mark.parametrize("site", HEART_SITES, ids=lambda site: site.site)
def test_three_kinds_of_store_say_the_same_of_a_patient(repository: Repository, root: Path, site: HeartSite) -> None:
    dataset = repository.silos[site.site].value.datasets["heart"]
    store = open_store(dataset, root=root)
    found = [row for batch in store.batches(tuple(dataset.columns)) for row in batch.to_pylist()]
    drawn = {patient.number: patient for patient in heart_patients(site, 7)}
    assert len(found) == len(drawn)
    for row in found:
        patient = drawn[int(str(row["patient_id"])[-5:])]
        assert (int(row["age"]), row["sex"]) == (patient.age, patient.sex)
        assert float(row["systolic"]) == patient.systolic
        assert (None if row["bmi"] is None else float(row["bmi"])) == patient.bmi
        assert _truth(row["smoker"]) is patient.smoker
        assert _truth(row["readmitted"]) is (patient.back_on is not None)
        assert int(float(row["days"])) == patient.days
        assert _truth(row["died"]) is patient.died


def _truth(cell: object) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[str(cell).lower()]


def test_marked_pieces_are_drugs_doses_and_frequencies(repository: Repository, root: Path, tmp_path: Path) -> None:
    view_of(repository, "medication-mentions", "hospital-river", root, tmp_path / "view")
    seen: dict[str, set[str]] = {}
    for row in parquet.read_table(tmp_path / "view" / "train.parquet").to_pylist():
        for piece in json.loads(row["entities"]):
            seen.setdefault(piece["label"], set()).add(row["note"][piece["start"] : piece["end"]])
    assert set(seen) == {"drug", "dose", "frequency"}
    assert "500 mg" in seen["dose"]
    assert "twice daily" in seen["frequency"]
    assert seen["drug"] & {"metformin", "apixaban", "furosemide"}


def test_no_child_is_in_a_view_of_columns(repository: Repository, root: Path, tmp_path: Path) -> None:
    for job, site in (("heart-risk", "hospital-north"), ("account-balance", "bank-ash")):
        view_of(repository, job, site, root, tmp_path / site)
        for side in ("train", "validation"):
            ages = parquet.read_table(tmp_path / site / f"{side}.parquet")["age"]
            assert pc.min(ages).as_py() >= 18


def test_nothing_of_a_header_is_in_a_view_of_scans(repository: Repository, root: Path, tmp_path: Path) -> None:
    kept = (root / "demo/records/hospital-north/scans/0001.dcm").read_bytes()
    assert b"Invented" in kept
    view_of(repository, "scan-findings", "hospital-north", root, tmp_path / "view")
    files = [path for path in (tmp_path / "view").rglob("*") if path.is_file()]
    assert len(files) > 100
    for path in files:
        content = path.read_bytes()
        assert b"Invented" not in content
        assert b"SYN-" not in content


@pytest.mark.parametrize("site", PICTURE_SITES, ids=lambda site: site.site)
def test_every_picture_has_the_form_that_its_site_is_said_to_have(
    repository: Repository, root: Path, site: PictureSite
) -> None:
    datasets = repository.silos[site.site].value.datasets
    for name, column, shape in (("scans", "scan", (32, 32)), ("lesions", "mask", (site.edge,) * 3)):
        store = open_store(datasets[name], root=root)
        (cell,) = next(iter(store.batches((column,)))).column(0)[:1].to_pylist()
        values = store.read_image(cell).values
        assert values.squeeze().shape == shape
        if name == "scans":  # air in the corners, in Hounsfield units, whatever the kind of file
            assert -1024 <= values.min() <= values[:2, :2].max() < -600 < 0 < values.max() < 500
        else:
            assert set(np.unique(values)) == {0, 1}
