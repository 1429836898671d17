# SPDX-License-Identifier: Apache-2.0
"""The reference notes and complaints: the same for the same seed, as silos declare them, uneven, held-out apart."""

from __future__ import annotations

import json
import stat
from collections import Counter
from pathlib import Path

import pytest

from cloister.documents import load
from cloister.jobs import Job
from cloister.records import ViewRequest, open_store, write_view
from cloister.reference import make_records, pooled_test
from cloister.reference.generator import SITES, WORDINGS, Kind, SiteRecords, site_records
from cloister.silos import Silo

pytestmark = pytest.mark.slow  # real processes, real keys or real files by the hundred

ROOT = Path(__file__).resolve().parents[2]
JOBS: dict[Kind, str] = {"clinical-notes": "triage-notes", "complaints": "complaint-routing"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A federation's folder with the records where the silo documents look for them."""
    folder = tmp_path_factory.mktemp("federation")
    make_records(folder / "demo" / "records")
    return folder


def job_of(kind: Kind) -> Job:
    return load(ROOT / "jobs" / f"{JOBS[kind]}.yaml", Job).value


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.site)
def test_every_silo_document_finds_its_records(site: SiteRecords, root: Path, tmp_path: Path) -> None:
    silo = load(ROOT / "silos" / f"{site.site}.yaml", Silo).value
    asked = job_of(site.kind).dataset
    request = ViewRequest(asked, seed=7)
    manifest = write_view(
        silo.datasets[asked.name], request, key=bytes(32), root=root, folder=tmp_path / "view", name=asked.name
    )
    assert (manifest.rows, manifest.rejected, manifest.cut) == (sum(site.counts), 0, 0)
    counts = [sum(sides.values()) for sides in manifest.classes.values()]
    assert counts == [site.counts[list(WORDINGS[site.kind].reasons).index(label)] for label in asked.labels]
    assert manifest.validation / manifest.rows == pytest.approx(asked.validation_share, abs=0.08)


def test_the_files_returned_are_the_files_written(root: Path, tmp_path: Path) -> None:
    paths = make_records(tmp_path / "records")
    assert [path.relative_to(tmp_path / "records") for path in paths[:6]] == [
        Path("hospital-north/notes.sqlite"),
        Path("hospital-river/notes.parquet"),
        Path("hospital-hill/notes.csv"),
        Path("bank-oak/complaints.sqlite"),
        Path("bank-elm/complaints.parquet"),
        Path("bank-ash/complaints.csv"),
    ]
    assert len(set(paths)) == len(paths)
    assert set(paths) == {path for path in (tmp_path / "records").rglob("*") if path.is_file()}
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert path.read_bytes() == (root / "demo" / "records" / path.relative_to(tmp_path / "records")).read_bytes()


def test_another_seed_writes_other_records(tmp_path: Path) -> None:
    one, other = (make_records(tmp_path / name, seed=seed) for name, seed in (("a", 7), ("b", 8)))
    others = {path.relative_to(tmp_path / "b"): path for path in other}
    same = [
        place
        for path in one
        if (place := path.relative_to(tmp_path / "a")) in others and path.read_bytes() == others[place].read_bytes()
    ]
    # A small sphere's mask may come out alike, and so may whose heart failure was found when.
    assert not [place for place in same if place.suffix != ".csv" and "masks" not in place.parts]
    assert len(same) < 20


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.site)
def test_every_row_says_that_it_is_synthetic(site: SiteRecords, root: Path) -> None:
    silo = load(ROOT / "silos" / f"{site.site}.yaml", Silo).value
    dataset = silo.datasets[site.kind]
    identifiers = [name for name, column in dataset.columns.items() if column.kind == "identifier"]
    assert len(identifiers) == 2
    store = open_store(dataset, root=root)
    cells = [cell for batch in store.batches(identifiers) for column in batch.columns for cell in column.to_pylist()]
    assert cells
    assert all(cell.startswith("SYN-") for cell in cells)


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.site)
def test_each_site_sees_two_classes_often_and_two_rarely(site: SiteRecords) -> None:
    records = site_records(site, 7)
    counts = Counter(record.label for record in records)
    rare, often = sorted(counts.values())[:2], sorted(counts.values())[2:]
    assert sum(rare) / len(records) < 0.2
    assert min(often) > 2 * max(rare)
    assert 240 <= len(records) <= 400
    assert len({record.text for record in records}) == len(records)
    assert len({record.record_id for record in records}) == len(records)
    assert len({record.person_id for record in records}) < len(records)


@pytest.mark.parametrize("kind", JOBS)
def test_test_records_are_balanced_and_no_site_holds_any(kind: Kind) -> None:
    test = pooled_test(kind, seed=7, n=401)
    assert len(set(test)) == len(test) == 401
    counts = Counter(label for _, label in test)
    assert tuple(counts) == tuple(WORDINGS[kind].reasons)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert test == pooled_test(kind, seed=7, n=401)
    assert test != pooled_test(kind, seed=8, n=401)
    held = {record.text for site in SITES for seed in range(6) for record in site_records(site, seed)}
    assert not held & {text for text, _ in test}


@pytest.mark.parametrize("kind", JOBS)
def test_the_jobs_labels_are_the_wordings(kind: Kind) -> None:
    assert set(job_of(kind).dataset.labels) == set(WORDINGS[kind].reasons)
    assert set(job_of(kind).federation.sites) == {site.site for site in SITES if site.kind == kind}


@pytest.mark.parametrize("kind", JOBS)
def test_texts_are_plain_and_short(kind: Kind) -> None:
    for text, _ in pooled_test(kind, seed=1, n=200):
        assert 20 < len(text) < 400
        assert text.isprintable()
        assert "{" not in text
        assert json.loads(json.dumps(text)) == text


@pytest.mark.parametrize("kind", JOBS)
def test_no_phrase_decides_for_two_classes(kind: Kind) -> None:
    reasons = [reason for phrases in WORDINGS[kind].reasons.values() for reason in phrases]
    assert len(set(reasons)) == len(reasons)
    assert not set(reasons) & set(WORDINGS[kind].distractors)
