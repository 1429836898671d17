# SPDX-License-Identifier: Apache-2.0
"""FHIR exports as tables: what a row finds in its own resource, and how rows come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cloister.errors import RecordsError
from cloister.records.fhir import store as fhir
from cloister.records.fhir.tables import Tables
from tests.records.contract import NAUGHTY, SECRET, everything
from tests.records.fhir_export import (
    ID,
    lake,
    observation,
    patient,
    refused,
    store,
    table,
)


class TestOwnColumns:
    def test_paths(self, tmp_path: Path) -> None:
        one = patient(
            "a",
            gender="female",
            active=True,
            birthDate="1950-03-01",
            multipleBirthInteger=2,
            address=[{"city": "Ulm"}, {"city": "Bonn"}],
            name=[{"use": "usual", "given": ["Eva"]}, {"use": "official", "given": ["Evelyn", "Ada"]}],
            extension=[{"url": "http://x.org/e", "valueDecimal": 1.5}],
        )
        fields = {
            "sex": {"path": "gender"},
            "active": {"path": "active"},
            "twin": {"path": "multipleBirthInteger"},
            "town": {"path": "address[1].city"},
            "given": {"path": "name.where(use='official').given.first()"},
            "extra": {"path": "extension('http://x.org/e').valueDecimal"},
        }
        lake(tmp_path, one, patient("b"))
        assert table(tmp_path, fields) == [("female", "true", "2", "Bonn", "Evelyn", "1.5"), (None,) * 6]

    def test_columns_come_as_asked_and_only_those(self, tmp_path: Path) -> None:
        # The path of `town` finds two values, so whoever reads it is found out.
        fields = {"patient_id": {"path": "id"}, "sex": {"path": "gender"}, "town": {"path": "address.city"}}
        lake(tmp_path, patient("a", gender="other", address=[{"city": "x"}, {"city": "y"}]))
        assert everything(store(tmp_path, fields), "sex", "patient_id") == [("other", "a")]
        error = refused(tmp_path, fields)
        assert error.message == "line 1 of `lake/Patient.ndjson` has not one value where column `town` looks"

    def test_a_path_that_ends_in_a_structure_is_refused(self, tmp_path: Path) -> None:
        lake(tmp_path, patient("a", address=[{"city": SECRET}]))
        assert "has not one value where column `town` looks" in refused(tmp_path, {"town": {"path": "address"}}).message

    @pytest.mark.parametrize(
        ("born", "at", "age"),
        [
            ("1950-03-01", "2020-02-29", "69"),
            ("1950-03-01", "2020-03-01", "70"),
            ("2000-02-29", "2001-02-28", "0"),
            ("2000-02-29", "2001-03-01", "1"),
            ("2020-03-01", "2020-03-01", "0"),
            ("2020-03-02", "2020-03-01", None),
            ("1950", "2020-01-01", None),
            ("1950-03", "2020-01-01", None),
        ],
    )
    def test_ages_are_whole_years(self, born: str, at: str, age: str | None, tmp_path: Path) -> None:
        lake(tmp_path, patient("a", birthDate=born))
        assert table(tmp_path, {"age": {"age_at": at}}) == [(age,)]

    def test_naughty_strings_pass_unharmed(self, tmp_path: Path) -> None:
        if not NAUGHTY.is_file():
            pytest.skip(f"the shared test data is not here: {NAUGHTY}")
        strings = [text for text in json.loads(NAUGHTY.read_text(encoding="utf-8")) if text]  # FHIR knows no empty text
        strings += ["a\r\nb\rc\t", '"', "a\u2028b", "a\0b"]
        lake(
            tmp_path,
            *[patient(f"p{n}", name=[{"text": text}]) for n, text in enumerate(strings)],
            *[observation(f"o{n}", f"Patient/p{n}", "1", valueString=text) for n, text in enumerate(strings)],
        )
        said = {"take": "latest", "resource": "Observation", "value": "words"}
        assert table(tmp_path, {"name": {"path": "name.text"}, "said": said}) == [(text, text) for text in strings]

    def test_no_lone_surrogate_gets_through(self, tmp_path: Path) -> None:
        (tmp_path / "lake").mkdir()
        lines = ['{"resourceType":"Patient","id":"a","name":[{"text":"\\ud800"}]}', json.dumps(patient("b"))]
        lines += ['{"resourceType":"Patient","id":"\\ud800"}']
        (tmp_path / "lake" / "Patient.ndjson").write_text("\n".join(lines), encoding="utf-8")
        fields = {"patient_id": {"path": "id"}, "name": {"path": "name.text"}}
        assert table(tmp_path, fields, maximum_broken_share=0.9) == [(None, None), ("b", None), (None, None)]


class TestStreaming:
    def test_rows_come_in_batches_and_none_is_lost(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fhir, "BATCH_ROWS", 64)
        lake(tmp_path, *[patient(f"p{n}") for n in range(200)])
        made = store(tmp_path, ID)
        batches = list(made.batches(["patient_id"]))
        assert [batch.num_rows for batch in batches] == [64, 64, 64, 8]
        assert [cell for batch in batches for cell in batch.column(0).to_pylist()] == [f"p{n}" for n in range(200)]
        assert everything(made, "patient_id") == everything(made, "patient_id")

    def test_long_texts_make_shorter_batches(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fhir, "_BATCH_CHARACTERS", 1000)
        lake(tmp_path, *[patient(f"p{n}", name=[{"text": "x" * 600}]) for n in range(5)])
        batches = list(store(tmp_path, {"name": {"path": "name.text"}}).batches(["name"]))
        assert [batch.num_rows for batch in batches] == [2, 2, 1]

    def test_an_export_without_a_row_is_an_empty_table(self, tmp_path: Path) -> None:
        lake(tmp_path, {"resourceType": "Organization", "id": "x"})
        assert table(tmp_path, ID) == []

    def test_a_column_that_is_not_there(self, tmp_path: Path) -> None:
        lake(tmp_path, patient("a"))
        with pytest.raises(RecordsError, match="`lake` has no column `nope`"):
            everything(store(tmp_path, ID), "nope")

    def test_nothing_is_left_on_disk_and_no_file_is_changed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setenv("SQLITE_TMPDIR", str(temporary))
        lake(tmp_path, *[patient(f"p{n}", name=[{"text": SECRET * 1000}]) for n in range(40)])
        before = {path: path.read_bytes() for path in (tmp_path / "lake").iterdir()}
        made = store(tmp_path, {"name": {"path": "name.text"}})
        stream = made.batches(["name"])
        assert isinstance(next(stream), pa.RecordBatch)
        assert list(temporary.iterdir()) == []  # not even while it is open
        stream.close()  # type: ignore[attr-defined]
        assert {path: path.read_bytes() for path in (tmp_path / "lake").iterdir()} == before

    def test_a_full_disk_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(self: Tables, cells: list[Any]) -> int:
            self._connection.execute("PRAGMA max_page_count = 1")
            self._connection.execute("CREATE TABLE more AS SELECT hex(randomblob(1000000)) AS x")
            return 1

        monkeypatch.setattr(Tables, "add_row", full)
        lake(tmp_path, patient("a"))
        assert refused(tmp_path).message == "what is read from `lake` cannot be kept on disk: SQLITE_FULL"
