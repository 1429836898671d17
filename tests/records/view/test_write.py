# SPDX-License-Identifier: Apache-2.0
"""The governed view: what may be asked for, what is left out, and that it appears whole or not at all."""

from __future__ import annotations

import json
import stat
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from cloister.errors import RecordsError
from cloister.files import sha256_of_file
from cloister.jobs import DatasetRef
from cloister.records import ViewManifest, ViewRequest, write_view
from cloister.records.view.split import held_back
from cloister.row_filter import All, OneOf
from cloister.silos import Dataset
from tests.records.writers import LABELS, WRITERS, Row, dataset, rows

KEY = b"k" * 32
WANTED = DatasetRef(name="notes", text="note", label="triage", labels=LABELS, validation_share=0.25)
REQUEST = ViewRequest(WANTED, seed=7, free_text="keep")
KINDS = tuple(WRITERS)


def asked(share: float, **others: Any) -> ViewRequest:
    """The request with another share of records for validation, also one that no job may ask for."""
    return replace(REQUEST, wanted=WANTED.model_copy(update={"validation_share": share}), **others)


FIRST_64_BITS_OF_NOTE = (
    0xEC25F97BE5A9C5B4  # printf 'split\0%s' 7 | openssl mac … BLAKE2BMAC, whose result is the key for 'note'
)


def view(
    folder: Path, content: list[Row], *, kind: str = "sqlite", request: ViewRequest = REQUEST, **declared: float
) -> ViewManifest:
    WRITERS[kind](folder / "notes.x", content)
    declaration = dataset(kind, "notes.x", **declared)  # type: ignore[arg-type]
    return write_view(declaration, request, key=KEY, root=folder, folder=folder / "job" / "view", name="notes")


def refusal(folder: Path, content: list[Row], **changed: object) -> RecordsError:
    """The refusal of a view; nothing is left of it."""
    with pytest.raises(RecordsError) as caught:
        view(folder, content, **changed)  # type: ignore[arg-type]
    assert not (folder / "job").exists() or not list((folder / "job").iterdir())
    return caught.value


def records(folder: Path, side: str) -> list[tuple[str, str]]:
    table = parquet.read_table(folder / "job" / "view" / f"{side}.parquet")
    assert table.schema == pa.schema([("note", pa.string()), ("triage", pa.string())])
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_holds_every_usable_record_once(kind: str, tmp_path: Path) -> None:
    content = rows(2500)
    manifest = view(tmp_path, content, kind=kind)
    training, validation = records(tmp_path, "train"), records(tmp_path, "validation")
    assert sorted(training + validation) == sorted((row[2], row[3]) for row in content)
    assert (manifest.training, manifest.validation) == (len(training), len(validation))
    assert (manifest.rows, manifest.rejected, manifest.cut, manifest.records) == (2500, 0, 0, 2500)
    assert manifest.validation / manifest.records == pytest.approx(0.25, abs=0.03)
    for label in LABELS:
        assert manifest.classes[label] == {
            "training": sum(each == label for _, each in training),
            "validation": sum(each == label for _, each in validation),
        }


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_a_filter_stops_never_enter_the_view(kind: str, tmp_path: Path) -> None:
    content = rows(300)
    request = replace(REQUEST, where=All((OneOf("triage", ("soon", "urgent")), OneOf("triage", ("urgent",)))))
    manifest = view(tmp_path, content, kind=kind, request=request)
    expected = sorted((row[2], row[3]) for row in content if row[3] == "urgent")
    assert sorted(records(tmp_path, "train") + records(tmp_path, "validation")) == expected
    assert (manifest.rows, manifest.filtered, manifest.rejected) == (300, 300 - len(expected), 0)
    assert manifest.filtered_by == ("triage",)
    assert manifest.classes["soon"] == {"training": 0, "validation": 0}


def test_a_filters_column_is_read_and_not_copied(tmp_path: Path) -> None:
    cells = [("north", "a cough", "soon"), ("south", "a rash", "soon"), ("", "a fall", "urgent"), ("north", "", "soon")]
    text = "ward,note,triage\n" + "".join(f"{','.join(row)}\n" for row in cells)
    (tmp_path / "notes.csv").write_text(text)
    columns = {
        "ward": {"kind": "category", "values": ["north", "south"]},
        "note": {"kind": "text"},
        "triage": {"kind": "category", "values": list(LABELS)},
    }
    declared = {"connector": {"kind": "csv", "path": "notes.csv"}, "columns": columns, "maximum_rejected_share": 0.5}
    declaration = Dataset.model_validate_json(json.dumps(declared))
    request = asked(0.06, where=OneOf("ward", ("north",)))
    manifest = write_view(declaration, request, key=KEY, root=tmp_path, folder=tmp_path / "job" / "view", name="notes")
    assert records(tmp_path, "train") == [("a cough", "soon")]
    # The share of rejected rows is of those that the filter lets through: one of two.
    assert (manifest.rows, manifest.filtered, manifest.rejected) == (4, 2, 1)
    assert manifest.columns == {"note": "text", "triage": "category"}
    assert manifest.filtered_by == ("ward",)


def test_a_filter_that_stops_every_row_leaves_no_view(tmp_path: Path) -> None:
    request = replace(REQUEST, where=All((OneOf("triage", ("soon",)), OneOf("triage", ("urgent",)))))
    assert refusal(tmp_path, rows(20), request=request).message == "the policy lets no row of dataset `notes` through"


@pytest.mark.parametrize("column", ["patient_id", "note", "ward"])
def test_rows_are_filtered_by_declared_categories_only(tmp_path: Path, column: str) -> None:
    request = replace(REQUEST, where=OneOf(column, ("x",)))
    assert f"`{column}`" in refusal(tmp_path, rows(20), request=request).message


def test_every_kind_of_store_gives_the_same_view(tmp_path: Path) -> None:
    manifests = set()
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        manifests.add(view(tmp_path / kind, rows(300), kind=kind).digest)
    assert len(manifests) == 1


def test_folder_and_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    manifest = view(tmp_path, rows(30))
    folder = tmp_path / "job" / "view"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {file.name for file in folder.iterdir()} == {"train.parquet", "validation.parquet", "manifest.json"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert json.loads((folder / "manifest.json").read_text()) == manifest.to_json()
    assert manifest.digests == {name: sha256_of_file(folder / name) for name in ("train.parquet", "validation.parquet")}
    assert list((tmp_path / "job").iterdir()) == [folder]
    assert manifest.columns == {"note": "text", "triage": "category"}


def test_no_identifier_reaches_the_view(tmp_path: Path) -> None:
    view(tmp_path, [(f"ID-OF-{n}", f"PERSON-{n}", f"note {n}", "soon") for n in range(50)])
    for file in (tmp_path / "job" / "view").iterdir():
        assert b"ID-OF" not in file.read_bytes()
        assert b"PERSON" not in file.read_bytes()


class TestWhatMayBeAsked:
    def ask(self, **changes: object) -> str:
        # The store does not exist, so a refusal that names a column was made before any record was touched.
        with pytest.raises(RecordsError) as caught:
            write_view(
                dataset("csv", "nothing.csv"),
                replace(REQUEST, wanted=WANTED.model_copy(update=changes)),
                key=KEY,
                root=Path("/nowhere"),
                folder=Path("/nowhere/view"),
                name="notes",
            )
        return str(caught.value)

    def test_an_identifier_can_never_be_asked_for(self) -> None:
        expected = "column `patient_id` of dataset `notes` is an identifier, which no job can ask for"
        assert self.ask(text="patient_id") == expected
        assert self.ask(label="patient_id") == expected

    def test_an_undeclared_column_does_not_exist(self) -> None:
        assert self.ask(text="notes") == "dataset `notes` declares no column `notes` (nearest is `note`)"
        assert self.ask(label="xyz") == "dataset `notes` declares no column `xyz` (it has `note`, `triage`)"

    def test_the_nearest_column_is_never_an_identifier(self) -> None:
        assert "patient_id" not in self.ask(text="patent_id")

    def test_kinds_must_fit(self) -> None:
        assert "`triage` of dataset `notes` is of kind category, where the job needs text" in self.ask(text="triage")
        assert "`note` of dataset `notes` is of kind text, where the job needs category" in self.ask(label="note")

    def test_labels_must_be_the_same_set(self) -> None:
        text = self.ask(labels=("routine", "soon", "later", "never"))
        assert "has other labels than the job (only here: `urgent`; only in the job: `later`, `never`)" in text
        assert "(only here: `urgent`)" in self.ask(labels=("routine", "soon"))

    def test_their_order_is_the_jobs_own(self, tmp_path: Path) -> None:
        manifest = view(
            tmp_path, rows(30), request=replace(REQUEST, wanted=WANTED.model_copy(update={"labels": LABELS[::-1]}))
        )
        assert tuple(manifest.classes) == LABELS[::-1]


class TestWhatIsLeftOut:
    BAD: tuple[Row, ...] = (
        ("1", "2", None, "soon"),
        ("1", "2", "", "soon"),
        ("1", "2", " \t\r\n\u00a0\u3000", "soon"),
        ("1", "2", "fine", None),
        ("1", "2", "fine", "SOON"),
        ("1", "2", "fine", "soon "),
        ("1", "2", "fine", 3),
    )

    def test_rows_without_text_or_known_label_are_rejected_and_counted(self, tmp_path: Path) -> None:
        manifest = view(tmp_path, [*rows(100), *self.BAD], maximum_rejected_share=0.1)
        assert (manifest.rows, manifest.rejected, manifest.records) == (107, 7, 100)

    def test_above_the_share_there_is_no_view(self, tmp_path: Path) -> None:
        content = [*rows(95), *self.BAD[:5]]
        assert view(tmp_path, content).rejected == 5  # exactly the share
        (tmp_path / "more").mkdir()
        error = refusal(tmp_path / "more", [*rows(94), *self.BAD[:6]])
        assert error.message == (
            "6 of 100 rows of dataset `notes` break what the silo document declares (3 by `note`, 3 by `triage`), "
            "more than the share 0.05 allowed"
        )

    def test_long_texts_are_cut_and_counted(self, tmp_path: Path) -> None:
        content: list[Row] = [*rows(20), ("1", "2", "é" * 51, "soon"), ("1", "2", "é" * 50, "urgent")]
        manifest = view(tmp_path, content, maximum_characters=50)
        assert (manifest.cut, manifest.rejected) == (1, 0)
        longest = [text for text, _ in records(tmp_path, "train") + records(tmp_path, "validation") if "é" in text]
        assert longest == ["é" * 50] * 2

    def test_a_text_that_is_blank_after_the_cut_is_rejected(self, tmp_path: Path) -> None:
        manifest = view(tmp_path, [*rows(40), ("1", "2", " " * 50 + "x", "soon")], maximum_characters=50)
        assert (manifest.cut, manifest.rejected) == (0, 1)

    def test_control_characters_are_kept(self, tmp_path: Path) -> None:
        odd = ["a\0b", "\0", "\x1b[31m", "a\u202eb", "\u200b", "\ufeffa", "🏳\ufe0f"]
        view(tmp_path, [("1", "2", text, "soon") for text in odd], request=asked(1e-9))
        assert [text for text, _ in records(tmp_path, "train")] == odd


class TestEmptySites:
    @pytest.mark.parametrize("kind", KINDS)
    def test_an_empty_table_is_no_site(self, kind: str, tmp_path: Path) -> None:
        message = refusal(tmp_path, [], kind=kind).message
        # Without a line, JSON lines have no columns, which is told before anybody looks for rows.
        assert message == ("`notes.x` is an empty file" if kind == "json-lines" else "dataset `notes` is empty")

    def test_a_table_without_a_usable_row_is_no_site(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, [("1", "2", "", "soon")] * 3, maximum_rejected_share=1.0)
        assert error.message == "3 of 3 rows of dataset `notes` are unusable (3 by `note`)"

    def test_one_class_will_do(self, tmp_path: Path) -> None:
        manifest = view(tmp_path, [("1", "2", f"note {n}", "soon") for n in range(40)])
        assert manifest.classes["routine"] == {"training": 0, "validation": 0}
        assert manifest.records == 40

    def test_nothing_to_train_on_is_refused(self, tmp_path: Path) -> None:
        twice: list[Row] = [("1", "2", "the same text", "soon")] * 2
        error = refusal(tmp_path, twice, request=asked(1.0))
        assert "too few records to train on" in error.message

    def test_nothing_to_validate_with_will_do(self, tmp_path: Path) -> None:
        manifest = view(tmp_path, rows(6), request=asked(1e-9))
        assert (manifest.training, manifest.validation) == (6, 0)
        assert records(tmp_path, "validation") == []


class TestSplit:
    def test_a_text_falls_on_one_side_however_often_it_occurs(self, tmp_path: Path) -> None:
        content = [(str(n), "p", f"note {n % 40}", LABELS[n % 3]) for n in range(600)]
        view(tmp_path, content)
        training = {text for text, _ in records(tmp_path, "train")}
        validation = {text for text, _ in records(tmp_path, "validation")}
        assert training
        assert validation
        assert not training & validation

    def test_texts_that_are_the_same_after_the_cut_fall_on_one_side(self, tmp_path: Path) -> None:
        same: list[Row] = [(str(n), "p", f"the same beginning{n}", "soon") for n in range(50)]
        view(tmp_path, [*rows(50), *same], maximum_characters=18)
        counts = {sum("same" in text for text, _ in records(tmp_path, side)) for side in ("train", "validation")}
        assert counts == {0, 50}

    def test_the_order_of_rows_does_not_matter_and_the_seed_does(self, tmp_path: Path) -> None:
        sides = []
        for name, content, seed in (("a", rows(200), 7), ("b", rows(200)[::-1], 7), ("c", rows(200), 8)):
            (tmp_path / name).mkdir()
            view(tmp_path / name, content, request=replace(REQUEST, seed=seed))
            sides.append(sorted(records(tmp_path / name, "validation")))
        assert sides[0] == sides[1]
        assert sides[0] != sides[2]

    def test_the_same_again_is_the_same_to_the_byte(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        assert view(tmp_path / "a", rows(200)) == view(tmp_path / "b", rows(200))

    @given(st.text(), st.integers(0, 2**31 - 1), st.floats(0, 1), st.floats(0, 1))
    def test_a_larger_share_keeps_what_a_smaller_one_kept(self, text: str, seed: int, one: float, two: float) -> None:
        small, large = sorted((one, two))
        assert held_back(KEY, text, seed, large) or not held_back(KEY, text, seed, small)
        assert not held_back(KEY, text, seed, 0.0)
        assert held_back(KEY, text, seed, 1.0)

    def test_the_rule_is_the_published_one(self) -> None:
        assert not held_back(KEY, "note", 7, (FIRST_64_BITS_OF_NOTE - 4096) / 2**64)
        assert held_back(KEY, "note", 7, (FIRST_64_BITS_OF_NOTE + 4096) / 2**64)

    def test_the_sites_key_decides_and_not_the_job(self, tmp_path: Path) -> None:
        WRITERS["csv"](tmp_path / "notes.x", rows(200))
        declared: Dataset = dataset("csv", "notes.x")
        sides = []
        for name, key in (("a", KEY), ("b", KEY), ("c", b"l" * 32)):
            folder = tmp_path / name / "job" / "view"
            write_view(declared, REQUEST, key=key, root=tmp_path, folder=folder, name="notes")
            sides.append(records(tmp_path / name, "validation"))
        assert sides[0] == sides[1]
        assert sides[0] != sides[2]


class TestWholeOrNotAtAll:
    def test_a_folder_that_exists_is_not_touched(self, tmp_path: Path) -> None:
        (tmp_path / "job" / "view").mkdir(parents=True)
        (tmp_path / "job" / "view" / "kept").touch()
        with pytest.raises(RecordsError, match="exists already"):
            view(tmp_path, rows(9))
        assert [file.name for file in (tmp_path / "job" / "view").iterdir()] == ["kept"]

    def test_a_store_that_breaks_off_leaves_nothing(self, tmp_path: Path) -> None:
        content: list[Row] = [*rows(3000), ("1", "2", b"\xff", "soon")]
        assert "not UTF-8 in row 3001" in refusal(tmp_path, content).message

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "job").touch()
        with pytest.raises(RecordsError, match="the view of dataset `notes` cannot be written: "):
            view(tmp_path, rows(9))

    def test_a_store_that_is_missing_leaves_nothing(self, tmp_path: Path) -> None:
        missing: Dataset = dataset("parquet", "nothing.parquet")
        with pytest.raises(RecordsError, match="does not exist"):
            write_view(missing, REQUEST, key=KEY, root=tmp_path, folder=tmp_path / "view", name="notes")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_memory_does_not_grow_with_the_rows(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "cloister.records.files.csv._BLOCK_BYTES", 1 << 15
    )  # so that the small file fills the read-ahead, too
    peaks = []
    for count in (40_000, 160_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        WRITERS[kind](folder / "notes.x", [(str(n), "p", f"{n} " * 30, "soon") for n in range(count)])
        arrow = pa.total_allocated_bytes()
        tracemalloc.start()
        write_view(dataset(kind, "notes.x"), REQUEST, key=KEY, root=folder, folder=folder / "view", name="notes")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert pa.total_allocated_bytes() - arrow < 1 << 20
    assert peaks[1] < 2 * peaks[0] + (1 << 20)  # four times the rows
