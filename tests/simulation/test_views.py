# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow import parquet

from cloister.errors import RecordsError, UsageError
from cloister.records import ViewManifest, ViewRequest
from cloister.repository import Repository, load_repository
from cloister.simulation import cast_of, key_of
from cloister.simulation.views import Views
from tests.federation_folder import JOB, LABELS, SPLIT_KEY, fix_splits, make_federation

FILES = ("train.parquet", "validation.parquet")
Rows = list[dict[str, str]]


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    root = make_federation(tmp_path / "federation")
    (root / ".cloister" / "sites" / "alpha").mkdir(parents=True)
    fix_splits(root, ["alpha"])
    return load_repository(root)


def written(repo: Repository, folder: Path, count: int | None, skew: float | None = None) -> dict[str, Path]:
    """By site the folder of its view, of the copies of alpha."""
    job = repo.jobs[JOB].value
    views, found = Views(repo.root, job, folder / "wholes", skew), {}
    for site in cast_of(repo, repo.jobs[JOB], count).sites:
        if site.origin == "alpha":
            found[site.name] = folder / site.name
            judged, held = views.write(
                site, dataset(repo), ViewRequest(job.dataset, job.seed, None, "keep"), found[site.name]
            )
            assert isinstance(judged, ViewManifest)
            assert judged.training + judged.validation == 24
            assert [held.training, held.validation] == [len(rows(found[site.name] / name)) for name in FILES]
    return found


def dataset(repo: Repository):
    return repo.silos["alpha"].value.datasets["clinical-notes"]


def rows(file: Path) -> Rows:
    return parquet.read_table(file).to_pylist()


def sorted_rows(*files: Path) -> list[tuple[str, ...]]:
    return sorted(tuple(row.values()) for file in files for row in rows(file))


@pytest.mark.parametrize("skew", [None, 0.2])
def test_all_records_of_a_site_are_dealt_out_each_to_one_copy_and_one_side(
    repo: Repository, tmp_path: Path, skew: float | None
) -> None:
    whole = written(repo, tmp_path / "whole", None)["alpha"]
    copies = written(repo, tmp_path / "dealt", 12, skew).values()
    assert len(copies) == 4
    for name in FILES:
        assert sorted_rows(*(copy / name for copy in copies)) == sorted_rows(whole / name)
    assert all(rows(copy / "train.parquet") for copy in copies)
    assert all(
        parquet.read_schema(copy / name) == parquet.read_schema(whole / name) for copy in copies for name in FILES
    )


def test_the_same_is_dealt_each_time(repo: Repository, tmp_path: Path) -> None:
    first, second = (written(repo, tmp_path / name, 9, 0.5) for name in "ab")
    assert [rows(first[name] / FILES[0]) for name in first] == [rows(second[name] / FILES[0]) for name in second]


def test_what_others_must_not_see_does_not_lie_in_a_view(repo: Repository, tmp_path: Path) -> None:
    for count in (None, 6):
        for folder in written(repo, tmp_path / str(count), count).values():
            assert {path.name for path in folder.iterdir()} == set(FILES)
            assert folder.stat().st_mode & 0o077 == 0


def test_the_split_is_by_the_sites_own_key_where_it_is_here(repo: Repository) -> None:
    assert key_of(repo.root, JOB, "alpha") == (SPLIT_KEY, True)
    key, own = key_of(repo.root, JOB, "beta")
    assert (len(key), own) == (32, False)
    assert key_of(repo.root, JOB, "beta")[0] == key
    assert key_of(repo.root, JOB, "gamma")[0] != key


def test_a_key_that_others_can_read_is_refused_as_at_the_site(repo: Repository) -> None:
    (repo.root / ".cloister" / "sites" / "alpha" / "split.key").chmod(0o644)
    with pytest.raises(RecordsError, match="can be read by others"):
        key_of(repo.root, JOB, "alpha")


def test_more_copies_than_records_are_a_mistake(repo: Repository, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`alpha` has 18 records to train on, and 30 copies would share them"):
        written(repo, tmp_path, 90)


def test_each_copy_is_told_why_there_is_no_view_and_records_are_read_once_for_it(
    repo: Repository, tmp_path: Path
) -> None:
    job = repo.jobs[JOB].value
    views, request = Views(repo.root, job, tmp_path / "wholes"), ViewRequest(job.dataset, job.seed, None, "keep")
    copies = [site for site in cast_of(repo, repo.jobs[JOB], 90).sites if site.origin == "alpha"]
    for site in copies[:3]:
        with pytest.raises(UsageError, match=r"`alpha` has 18 records to train on, and 30 copies would share them"):
            views.write(site, dataset(repo), request, tmp_path / site.name)
        for file in (repo.root / "records").glob("alpha*"):
            file.unlink()


def test_only_classes_can_be_dealt_out_unevenly(tmp_path: Path) -> None:
    root = make_federation(tmp_path / "federation")
    repo = load_repository(root)
    job = repo.jobs[JOB].value
    assert job.dataset.labels == LABELS
    without = job.model_copy(update={"dataset": job.dataset.model_copy(update={"label": None})})
    with pytest.raises(UsageError, match="has none"):
        Views(root, without, tmp_path, 0.5)
