# SPDX-License-Identifier: Apache-2.0
"""What can be worked out from the numbers and digests of a view that leave the site, by whoever chooses the job."""

from __future__ import annotations

import json
import random
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from cloister.files import sha256_of
from cloister.records.view.occurrences import MAXIMUM_TRACKED, Occurrences
from cloister.records.view.write import FILES
from tests.records.view.test_tasks import RISK, made, rows, view

WARDS = ["north", "south", "rare"]
WARD = {"kind": "category", "values": WARDS}


def wards(folder: Path, rare: int) -> Any:
    cells = ["north"] * 300 + ["south"] * 200 + ["rare"] * rare
    random.Random(7).shuffle(cells)
    return made(folder, {"ward": (cells, WARD)})


def test_no_seed_makes_the_sides_of_the_split_those_of_a_value(tmp_path: Path) -> None:
    """Else so many records on a side would be so many with a value, however few those are."""
    declared = wards(tmp_path, rare=3)
    found = [view(declared, tmp_path, features=("ward",), seed=seed) for seed in range(12)]
    sums = {sum(chosen) for size in range(4) for chosen in combinations((300, 200, 3), size)}
    told = [manifest.validation for manifest in found]
    assert not sums & set(told)
    assert all(100 < each < 205 for each in told)
    assert {manifest.records for manifest in found} == {503}


def test_the_split_of_equal_records_does_not_depend_on_their_order(tmp_path: Path) -> None:
    declared = wards(tmp_path, rare=3)
    one = view(declared, tmp_path, features=("ward",))
    cells = parquet.read_table(tmp_path / "rows.x").column("ward").to_pylist()
    (tmp_path / "other").mkdir()
    other = made(tmp_path / "other", {"ward": (cells[::-1], WARD)})
    two = view(other, tmp_path / "other", features=("ward",))
    assert (one.training, one.validation) == (two.training, two.validation)

    def counted(folder: Path) -> list[str]:
        return sorted(row["ward"] for row in rows(folder, "validation"))

    assert counted(tmp_path) == counted(tmp_path / "other")


def test_equal_texts_stay_on_one_side(tmp_path: Path) -> None:
    texts = [f"note {n % 40}" for n in range(400)]
    risks = ["low" if n % 3 else "high" for n in range(400)]
    declared = made(tmp_path, {"text": (texts, {"kind": "text"}), "risk": (risks, RISK)})
    view(declared, tmp_path, text="text", label="risk", labels=("low", "high"))
    sides = [{row["text"] for row in rows(tmp_path, side)} for side in ("train", "validation")]
    assert sides[0].isdisjoint(sides[1])


def test_occurrences_are_counted_from_batch_to_batch() -> None:
    counted = Occurrences()
    first = pa.array([0, 1, 0, 0])
    assert counted.of([10, 20], first).tolist() == [0, 0, 1, 2]
    assert counted.of([20, 10, 30], pa.array([0, 1, 2, 0])).tolist() == [1, 3, 0, 2]
    assert counted.of([], pa.array([], pa.int32())).tolist() == []


def test_occurrences_of_very_many_different_records_are_not_kept() -> None:
    counted = Occurrences()
    many = list(range(MAXIMUM_TRACKED))
    counted.of(many, pa.array(many))
    assert counted.of([MAXIMUM_TRACKED, 5], pa.array([0, 0, 1])).tolist() == [0, 0, 1]
    assert counted.of([MAXIMUM_TRACKED, 5], pa.array([0, 1])).tolist() == [0, 2]


def test_the_digest_of_a_view_cannot_be_had_from_a_guess_of_its_records(tmp_path: Path) -> None:
    """A view of one truth value has few contents; who tries them all would know all of its records."""
    truths = [n in (4, 17) for n in range(30)]
    declared = made(tmp_path, {"ill": (truths, {"kind": "boolean"})})
    manifest = view(declared, tmp_path, features=("ill",))
    told = manifest.digest
    for side, file in FILES.items():
        assert manifest.digests[file] == sha256_of((tmp_path / "view-5" / file).read_bytes()), side
    # All but the seal is what somebody could guess; without the site's key they get another digest.
    guessed = type(manifest)(**{**manifest.__dict__, "seal": ""})
    assert guessed.digest != told
    assert len(manifest.seal) == 64


def test_a_seal_is_the_same_for_the_same_view_and_another_for_another(tmp_path: Path) -> None:
    declared = made(tmp_path, {"ill": ([True, False] * 15, {"kind": "boolean"})})
    other = made(tmp_path / "other", {"ill": ([True, False] * 14 + [True, True], {"kind": "boolean"})})
    again = made(tmp_path / "again", {"ill": ([True, False] * 15, {"kind": "boolean"})})
    one, two, three = (
        view(each, folder, features=("ill",))
        for each, folder in ((declared, tmp_path), (other, tmp_path / "other"), (again, tmp_path / "again"))
    )
    assert one.digest == three.digest
    assert one.seal != two.seal


def test_a_person_has_other_pseudonyms_in_other_datasets_and_columns(tmp_path: Path) -> None:
    columns = {
        "person": ([f"P-{n}" for n in range(60)], {"kind": "identifier"}),
        "ward": ([WARDS[n % 2] for n in range(60)], WARD),
        "ill": ([n % 2 == 0 for n in range(60)], {"kind": "boolean"}),
    }
    pseudonyms = []
    for number, wanted in enumerate(
        ({"name": "rows"}, {"name": "rows"}, {"name": "others"}, {"name": "rows", "features": ("ward", "ill")})
    ):
        folder = tmp_path / str(number)
        declared = made(folder, columns, person="person")
        view(declared, folder, **{"features": ("ward",), "person": "person", **wanted})
        pseudonyms.append({row["person"] for side in ("train", "validation") for row in rows(folder, side)})
    assert pseudonyms[0] == pseudonyms[1]
    assert len(pseudonyms[0] | pseudonyms[2] | pseudonyms[3]) == 180


def annotated(folder: Path, *, free_text: str = "keep") -> Any:
    texts = [f"gave aspirin {n} mg" for n in range(60)]
    drug = {"start": 5, "end": 12, "label": "drug", "by": "Jane Roe", "note": "of patient 4711"}
    dose = {"start": 13, "end": 14, "label": "dose", "by": "Jane Roe"}
    marks = [json.dumps([drug, dose] if n < 2 else [drug]) for n in range(60)]
    return made(folder, {"text": (texts, {"kind": "text"}), "marks": (marks, {"kind": "spans"})})


def test_a_job_cannot_filter_rows_by_the_labels_that_it_names(tmp_path: Path) -> None:
    """Else two jobs, with a label more and a label less, would count the records that are marked with it."""
    told = []
    for number, labels in enumerate((("drug",), ("drug", "dose"), ("dose",), ("nothing",))):
        folder = tmp_path / str(number)
        manifest = view(annotated(folder), folder, text="text", entities="marks", labels=labels)
        told.append((manifest.training, manifest.validation, manifest.rejected))
    assert len(set(told)) == 1
    assert told[0][2] == 0
    pieces = [json.loads(row["marks"]) for side in ("train", "validation") for row in rows(tmp_path / "2", side)]
    assert sorted(map(len, pieces))[-3:] == [0, 1, 1]


def test_nothing_but_places_and_labels_of_pieces_is_in_a_view(tmp_path: Path) -> None:
    view(annotated(tmp_path), tmp_path, text="text", entities="marks", labels=("drug",))
    whole = b"".join((tmp_path / "view-5" / file).read_bytes() for file in FILES.values())
    assert b"aspirin" in whole
    assert b"Jane Roe" not in whole
    assert b"4711" not in whole


def test_nothing_but_roles_and_contents_of_messages_is_in_a_view(tmp_path: Path) -> None:
    talk = [
        {"role": "user", "content": "hello ünd", "name": "Jane Roe"},
        {"role": "assistant", "content": "good day", "meta": {"patient": 4711}},
    ]
    for free_text in ("keep", "mask"):
        folder = tmp_path / free_text
        cells = [json.dumps(talk).replace("hello", f"hello {n}") for n in range(60)]
        manifest = view(
            made(folder, {"talk": (cells, {"kind": "messages"})}), folder, messages="talk", free_text=free_text
        )
        assert manifest.records == 60
        whole = b"".join((folder / "view-5" / file).read_bytes() for file in FILES.values())
        assert b"good day" in whole
        assert b"Jane Roe" not in whole
        assert b"4711" not in whole
