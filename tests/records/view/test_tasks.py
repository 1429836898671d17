# SPDX-License-Identifier: Apache-2.0
"""Views for tasks other than text classification: people, pseudonyms, features, survival, annotations, free text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from pyarrow import parquet

from cloister.errors import RecordsError
from cloister.jobs import DatasetRef
from cloister.records import ViewManifest, ViewRequest, describe_view, write_view
from cloister.row_filter import parse
from cloister.silos import Dataset

KEY = b"k" * 32


def made(folder: Path, columns: dict[str, tuple[list[Any], dict[str, Any]]], **declared: Any) -> Dataset:
    """A Parquet file with ``columns``, each as (cells, declaration), and its declaration."""
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({name: pa.array(cells) for name, (cells, _) in columns.items()}), folder / "rows.x")
    tree = {
        "connector": {"kind": "parquet", "path": "rows.x"},
        "columns": {name: said for name, (_, said) in columns.items()},
        **declared,
    }
    return Dataset.model_validate_json(json.dumps(tree))


def view(
    declared: Dataset, folder: Path, *, free_text: Any = "keep", where: str = "", seed: int = 5, **wanted: Any
) -> ViewManifest:
    wanted = {"name": "rows", "validation_share": 0.3, **wanted}
    request = ViewRequest(DatasetRef(**wanted), seed, parse(where) if where else None, free_text)
    return write_view(declared, request, key=KEY, root=folder, folder=folder / f"view-{seed}", name="rows")


def rows(folder: Path, side: str, seed: int = 5) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(folder / f"view-{seed}" / f"{side}.parquet").to_pylist()
    return found


def people(count: int, each: int = 3) -> list[str]:
    return [f"P-{n // each}" for n in range(count)]


NUMBERS = {"kind": "number", "minimum": 0, "maximum": 100}
RISK = {"kind": "category", "values": ["low", "high"]}
PERSON = {"kind": "identifier"}


def patients(folder: Path, count: int = 120, **declared: Any) -> Dataset:
    columns = {
        "person": (people(count), PERSON),
        "age": ([float(n % 100) for n in range(count)], NUMBERS),
        "ward": (
            ["north" if n % 2 else "south" for n in range(count)],
            {"kind": "category", "values": ["north", "south"]},
        ),
        "risk": (["high" if n % 4 == 0 else "low" for n in range(count)], RISK),
    }
    return made(folder, columns, **{"person": "person", **declared})


class TestPeople:
    ASK: ClassVar[dict[str, Any]] = {"features": ("age", "ward"), "label": "risk", "labels": ("low", "high")}

    def test_nobody_is_on_both_sides(self, tmp_path: Path) -> None:
        manifest = view(patients(tmp_path), tmp_path, **self.ASK, person="person")
        sides = [{row["person"] for row in rows(tmp_path, side)} for side in ("train", "validation")]
        assert all(sides)
        assert not sides[0] & sides[1]
        assert manifest.people == {"training": len(sides[0]), "validation": len(sides[1])}
        assert sum(manifest.people.values()) == 40
        for side in ("train", "validation"):
            assert len(rows(tmp_path, side)) % 3 == 0  # all three records of each

    def test_a_pseudonym_tells_people_apart_and_nothing_else(self, tmp_path: Path) -> None:
        declared = patients(tmp_path)
        view(declared, tmp_path, **self.ASK, person="person")
        view(declared, tmp_path, seed=6, **self.ASK, person="person")
        here, there = (
            {row["person"] for side in ("train", "validation") for row in rows(tmp_path, side, seed)} for seed in (5, 6)
        )
        assert len(here) == len(there) == 40
        assert not here & there  # another one in each job
        assert all(len(name) == 32 and set(name) <= set("0123456789abcdef") for name in here)
        for file in (tmp_path / "view-5").iterdir():
            assert b"P-" not in file.read_bytes()

    def test_without_the_role_there_is_no_column_of_people(self, tmp_path: Path) -> None:
        manifest = view(patients(tmp_path), tmp_path, **self.ASK)
        assert set(manifest.columns) == {"age", "ward", "risk"} == set(rows(tmp_path, "train")[0])
        assert manifest.people is not None

    def test_only_the_declared_person_can_be_asked_for(self, tmp_path: Path) -> None:
        with pytest.raises(RecordsError, match="`person` of dataset `rows` is an identifier"):
            view(patients(tmp_path, person=None), tmp_path, **self.ASK, person="person")

    def test_one_person_alone_is_refused(self, tmp_path: Path) -> None:
        columns = {"person": (["P-1"] * 50, PERSON), "age": ([1.0] * 50, NUMBERS), "risk": (["low"] * 50, RISK)}
        declared = made(tmp_path, columns, person="person")
        with pytest.raises(RecordsError, match="are of one person alone"):
            view(declared, tmp_path, features=("age",), label="risk", labels=("low", "high"))
        assert not (tmp_path / "view-5").exists()

    def test_a_row_without_a_person_is_rejected(self, tmp_path: Path) -> None:
        columns = {
            "person": ([None if n < 4 else f"P-{n}" for n in range(80)], PERSON),
            "age": ([1.0] * 80, NUMBERS),
            "risk": (["low"] * 80, RISK),
        }
        manifest = view(
            made(tmp_path, columns, person="person"), tmp_path, features=("age",), label="risk", labels=("low", "high")
        )
        assert (manifest.rejected, manifest.rejected_by) == (4, {"person": 4})

    def test_a_filter_may_look_at_what_is_not_granted(self, tmp_path: Path) -> None:
        manifest = view(
            patients(tmp_path),
            tmp_path,
            where="ward == 'north' and age >= 50",
            features=("age",),
            label="risk",
            labels=("low", "high"),
        )
        got = [row["age"] for side in ("train", "validation") for row in rows(tmp_path, side)]
        assert sorted(got) == sorted(float(n % 100) for n in range(120) if n % 2 and n % 100 >= 50)
        assert manifest.filtered_by == ("age", "ward")


def test_features_may_be_missing_and_what_is_learnt_towards_may_not(tmp_path: Path) -> None:
    cells = [None if n % 10 == 0 else float(n % 90) for n in range(100)]
    columns = {
        "age": (cells, NUMBERS),
        "bmi": ([20.0] * 100, {**NUMBERS, "required": True}),
        "target": (cells[::-1], NUMBERS),
    }
    manifest = view(
        made(tmp_path, columns, maximum_rejected_share=0.5), tmp_path, features=("age", "bmi"), target="target"
    )
    assert (manifest.rejected, manifest.rejected_by) == (10, {"target": 10})
    assert any(row["age"] is None for row in rows(tmp_path, "train"))


def test_a_value_out_of_range_rejects_its_row_and_is_told_by_column(tmp_path: Path) -> None:
    columns = {
        "age": ([150.0 if n < 3 else 50.0 for n in range(100)], NUMBERS),
        "bmi": ([-1.0 if n in (2, 3) else 20.0 + n / 100 for n in range(100)], NUMBERS),
        "target": ([1.0] * 100, NUMBERS),
    }
    manifest = view(made(tmp_path, columns), tmp_path, features=("age", "bmi"), target="target")
    assert manifest.rejected_by == {"age": 3, "bmi": 1}  # the first column that a row breaks
    assert manifest.records == 96


def test_survival_counts_events(tmp_path: Path) -> None:
    columns = {
        "age": ([float(n % 90) for n in range(90)], NUMBERS),
        "days": ([float(n + 1) for n in range(90)], {"kind": "number", "minimum": 0}),
        "died": ([n % 3 == 0 for n in range(90)], {"kind": "boolean"}),
    }
    manifest = view(made(tmp_path, columns), tmp_path, features=("age",), time="days", event="died")
    assert {kind: sum(counts.values()) for kind, counts in manifest.classes.items()} == {"event": 30, "censored": 60}


def test_a_silo_may_say_what_alone_may_be_predicted(tmp_path: Path) -> None:
    declared = patients(tmp_path, label="risk")
    with pytest.raises(RecordsError, match="lets jobs predict `risk` and nothing else"):
        view(declared, tmp_path, features=("risk",), target="age")
    assert view(declared, tmp_path, **TestPeople.ASK).records == 120


class TestAnnotations:
    TEXTS: ClassVar[list[str]] = [f"gave aspirin {n} mg" for n in range(60)]
    SPANS: ClassVar[dict[str, Any]] = {"kind": "spans"}

    def ask(self, folder: Path, spans: list[str], *, texts: list[str] | None = None, **others: Any) -> ViewManifest:
        columns = {
            "text": (texts or self.TEXTS, {"kind": "text", "maximum_characters": 40}),
            "marks": (spans, self.SPANS),
        }
        declared = made(folder, columns, maximum_rejected_share=0.9)
        return view(declared, folder, text="text", entities="marks", labels=("drug",), **others)

    def test_pieces_are_kept_as_they_are(self, tmp_path: Path) -> None:
        spans = ['[{"start": 5, "end": 12, "label": "drug"}]'] * 60
        manifest = self.ask(tmp_path, spans)
        assert (manifest.records, manifest.rejected) == (60, 0)
        assert {row["marks"] for row in rows(tmp_path, "train")} == {spans[0]}

    @pytest.mark.parametrize(
        "bad",
        ["not json", "{}", '[{"start": 5, "end": 500, "label": "drug"}]', '[{"start": 5, "end": 12}]',
         '[{"start": 5, "end": 12, "label": "drug"}, {"start": 8, "end": 14, "label": "drug"}]', ""],
    )  # fmt: skip
    def test_pieces_that_cannot_be_meant_reject_the_row(self, tmp_path: Path, bad: str) -> None:
        spans = [bad if n < 6 else "[]" for n in range(60)]
        manifest = self.ask(tmp_path, spans)
        assert (manifest.rejected, manifest.rejected_by) == (6, {"marks": 6})

    def test_pieces_beyond_the_cut_reject_the_row(self, tmp_path: Path) -> None:
        texts = ["x" * 39 + "yyyy" if n < 5 else text for n, text in enumerate(self.TEXTS)]
        spans = ['[{"start": 38, "end": 42, "label": "drug"}]' if n < 5 else "[]" for n in range(60)]
        assert self.ask(tmp_path, spans, texts=texts).rejected_by == {"marks": 5}

    def test_pieces_move_with_what_is_masked(self, tmp_path: Path) -> None:
        texts = [f"to a.b{n}@example.org aspirin" for n in range(60)]
        spans = [json.dumps([{"start": text.index("aspirin"), "end": len(text), "label": "drug"}]) for text in texts]
        manifest = self.ask(tmp_path, spans, texts=texts, free_text="mask")
        for row in rows(tmp_path, "train"):
            (piece,) = json.loads(row["marks"])
            assert row["text"][piece["start"] : piece["end"]] == "aspirin"
            assert "example.org" not in row["text"]
        assert manifest.identifying_share == {"text": 1.0}


class TestConversations:
    GOOD = json.dumps(
        [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "call 020 7946 0958 or a@b.org"}]
    )

    def test_those_that_are_none_reject_the_row(self, tmp_path: Path) -> None:
        cells = ["[]" if n < 5 else self.GOOD.replace("hello", f"hello {n}") for n in range(60)]
        manifest = view(
            made(tmp_path, {"talk": (cells, {"kind": "messages"})}, maximum_rejected_share=0.5),
            tmp_path,
            messages="talk",
        )
        assert manifest.rejected_by == {"talk": 5}

    def test_every_message_is_masked(self, tmp_path: Path) -> None:
        cells = [self.GOOD.replace("hello", f"hello {n}") for n in range(60)]
        manifest = view(
            made(tmp_path, {"talk": (cells, {"kind": "messages"})}), tmp_path, messages="talk", free_text="mask"
        )
        assert all("a@b.org" not in row["talk"] and json.loads(row["talk"]) for row in rows(tmp_path, "train"))
        assert manifest.identifying_share == {"talk": 1.0}


def test_a_gate_for_free_text_that_errs_leaves_no_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RecordsError("the gate for free text failed")

    monkeypatch.setattr("cloister.records.free_text.deidentify.Deidentifier.mask_array", broken)
    declared = made(
        tmp_path, {"text": ([f"note {n}" for n in range(60)], {"kind": "text"}), "risk": (["low", "high"] * 30, RISK)}
    )
    with pytest.raises(RecordsError, match="gate for free text failed"):
        view(declared, tmp_path, text="text", label="risk", labels=("low", "high"), free_text="mask")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.x"]


def test_the_features_of_a_view_are_described(tmp_path: Path) -> None:
    from cloister.jobs import Job

    declared = patients(tmp_path)
    job = Job.model_validate_json(
        json.dumps(
            {
                "job": "look", "purpose": "care", "task": "statistics",
                "dataset": {
                    "name": "rows", "features": ["age", "ward"],
                    "histograms": {"age": {"low": 0, "high": 100, "count": 2}},
                },
                "federation": {},
            }
        )
    )  # fmt: skip
    view(declared, tmp_path, features=("age", "ward"))
    described = describe_view(tmp_path / "view-5", declared, job, 5)
    assert described.records == 120
    age, ward = described.features["age"], described.features["ward"]
    assert (age.present, round(age.mean, 6)) == (120, round(sum(n % 100 for n in range(120)) / 120, 6))  # type: ignore[union-attr]
    assert ward.counts == {"north": 60, "south": 60}  # type: ignore[union-attr]
    assert age.histogram.counts == (70, 50)  # type: ignore[union-attr]
