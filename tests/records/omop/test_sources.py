# SPDX-License-Identifier: Apache-2.0
"""Sources of OMOP cohorts: what is missing or broken in them is told by table, column and row, and never by content."""

from __future__ import annotations

import os
import sqlite3
import zipfile
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.records.cdm import (
    DAY_0,
    SECRET,
    Cdm,
    csv_text,
    one_person,
    refusal,
    table,
    window,
    write_csv,
    write_postgresql,
    write_sqlite,
    write_zip,
)
from tests.records.postgresql_server import PostgresqlServer


class TestShape:
    def test_a_missing_table_is_named_with_the_version(self, tmp_path: Path) -> None:
        fields = {"bmi": {"take": "latest", **window("measurement", [30], -9, 0)}}
        source = write_sqlite(tmp_path, one_person())
        with closing(sqlite3.connect(source["path"])) as connection:
            connection.execute("DROP TABLE measurement")
        error = refusal(source, fields=fields)
        assert error.message == f"`{source['path']}` has no table `measurement` of OMOP CDM 5.4"
        assert set(table(source)) == {7}  # who does not need it does not miss it
        source = write_csv(tmp_path, one_person())
        for name in ("measurement", "person"):
            (Path(source["path"]) / f"{name}.csv").unlink()
        error = refusal(source, fields=fields)
        assert error.message == f"`{source['path']}` has no tables `person`, `measurement` of OMOP CDM 5.4"

    def test_a_missing_column_is_named_with_its_table(self, tmp_path: Path) -> None:
        source = write_sqlite(tmp_path, one_person())
        with closing(sqlite3.connect(source["path"])) as connection:
            connection.execute("ALTER TABLE condition_occurrence RENAME COLUMN condition_start_date TO start_date")
        error = refusal(source)
        where = f"table `condition_occurrence` of `{source['path']}`"
        assert error.message == f"{where} has no column `condition_start_date` of OMOP CDM 5.4"

    def test_a_place_that_is_not_there_or_is_something_else(self, tmp_path: Path) -> None:
        for kind in ("sqlite", "csv-folder"):
            place = {"kind": kind, "path": str(tmp_path / "cdm")}
            assert refusal(place).message == f"`{tmp_path}/cdm` does not exist"
        (tmp_path / "cdm").write_bytes(SECRET.encode() * 100)
        error = refusal({"kind": "csv-folder", "path": str(tmp_path / "cdm")})
        assert error.message == f"`{tmp_path}/cdm` is not a readable zip archive"
        error = refusal({"kind": "sqlite", "path": str(tmp_path / "cdm")})
        assert error.message == f"`{tmp_path}/cdm` is not an SQLite database"

    def test_no_vocabulary_and_descendants_asked_for(self, write_cdm: Any) -> None:
        wide = {"domain": "condition", "concepts": [1], "descendants": True}
        error = refusal(write_cdm(one_person()), cohort={"entry": wide})
        assert error.message.startswith("table `concept_ancestor` of `")
        assert error.message.endswith("does not know concept 1, whose `descendants` are asked for")
        assert error.hint.startswith("load the vocabulary if the table is empty")

    def test_a_concept_that_the_vocabulary_does_not_know(self, write_cdm: Any) -> None:
        cdm = one_person().add("concept_ancestor", ancestor_concept_id=2, descendant_concept_id=1)
        wide = {"domain": "condition", "concepts": [1], "descendants": True}
        assert refusal(write_cdm(cdm), cohort={"entry": wide}).message.endswith(
            "does not know concept 1, whose `descendants` are asked for"
        )

    def test_a_person_twice(self, write_cdm: Any) -> None:
        assert "holds a person twice" in refusal(write_cdm(one_person().person(7))).message


class TestSqlite:
    @pytest.mark.parametrize(
        "as_stored",
        [
            lambda day: f"{day:%Y%m%d}" if type(day) is date else str(day),
            lambda day: f"{day:%Y-%m-%d} 00:00:00",
            lambda day: f"{day:%Y-%m-%d}T23:59:59Z",
            lambda day: (date(day.year, day.month, day.day) - date(1970, 1, 1)).days * 86_400,  # as OHDSI's tools do
            lambda day: (date(day.year, day.month, day.day) - date(1970, 1, 1)).days * 86_400.0,
        ],
    )
    def test_dates_as_they_are_stored(self, as_stored: Any, tmp_path: Path) -> None:
        cdm = Cdm().person(7, born="1969-03-01").observed(7, -18_400, 3).event(7, "condition", 1, 0)
        cdm.event(7, "visit", 1, -1).event(7, "visit", 1, -18_400)  # that one in 1969
        source = write_sqlite(tmp_path, cdm, as_stored)
        fields = {
            "age": {"age": "at-index"},
            "day": {"index": "date"},
            "visits": {"take": "count", "domain": "visit", "from": -18_400, "to": 0},
        }
        assert table(source, fields=fields) == {7: {"who": 7, "age": 51, "day": DAY_0, "visits": 2}}

    @pytest.mark.parametrize("stored", ["2020-02-30", "01.03.2020", "now", "", SECRET, 18322, 20200231, None, b"x"])
    def test_what_is_no_date_is_counted_and_refused(self, stored: Any, tmp_path: Path) -> None:
        source = write_sqlite(tmp_path, one_person().event(7, "condition", 1, 1))
        self.change(source, "UPDATE condition_occurrence SET condition_start_date = ? WHERE rowid = 2", stored)
        error = refusal(source)
        where = f"table `condition_occurrence` of `{source['path']}`"
        assert error.message == f"column `condition_start_date` of {where} holds no date in 1 record"

    def test_records_that_nobody_looks_for_may_hold_anything(self, tmp_path: Path) -> None:
        source = write_sqlite(tmp_path, one_person().event(7, "condition", 2, 1))
        self.change(source, "UPDATE condition_occurrence SET condition_start_date = ? WHERE rowid = 2", SECRET)
        assert set(table(source)) == {7}

    @pytest.mark.parametrize(
        ("column", "of"), [("value_as_number", "a number"), ("measurement_concept_id", "a whole number")]
    )
    def test_text_where_a_number_belongs(self, column: str, of: str, tmp_path: Path) -> None:
        source = write_sqlite(tmp_path, one_person().value(7, 30, -1, 5.0))
        self.change(source, f"UPDATE measurement SET {column} = ?", SECRET)
        error = refusal(source, fields={"x": {"take": "mean", **window("measurement", [30], -9, 0)}})
        where = f"column `{column}` of table `measurement` of `{source['path']}`"
        assert error.message == f"{where} holds something that is not {of} in 1 record"

    def test_a_fraction_where_a_whole_number_belongs(self, tmp_path: Path) -> None:
        source = write_sqlite(tmp_path, one_person())
        self.change(source, "UPDATE person SET person_id = ?", 7.5)
        where = f"column `person_id` of table `person` of `{source['path']}`"
        assert refusal(source).message == f"{where} holds something that is not a whole number in 1 record"

    def change(self, source: dict[str, str], statement: str, value: Any) -> None:
        with closing(sqlite3.connect(source["path"])) as connection, connection:
            connection.execute(statement, (value,))

    def test_a_damaged_database_is_refused(self, tmp_path: Path) -> None:
        cdm = one_person()
        for day in range(2000):
            cdm.event(7, "condition", 1, day)
        source = write_sqlite(tmp_path, cdm)
        path = Path(source["path"])
        content = bytearray(path.read_bytes())
        content[len(content) // 2 :] = b"\xaa" * (len(content) - len(content) // 2)
        path.write_bytes(content)
        assert refusal(source).message == f"`{path}` cannot be read by SQLite: SQLITE_CORRUPT"


class TestExport:
    def changed(self, tmp_path: Path, cdm: Cdm, name: str, old: bytes, new: bytes) -> dict[str, str]:
        source = write_csv(tmp_path, cdm)
        path = Path(source["path"]) / f"{name}.csv"
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new))
        return source

    @pytest.mark.parametrize("written", ["2020-02-30", "01.03.2020", SECRET, "20201301", "2020-3-1"])
    def test_what_is_no_date_is_refused_with_its_row(self, written: str, tmp_path: Path) -> None:
        cdm = one_person().event(7, "condition", 2, 5).event(7, "condition", 1, 9)
        source = self.changed(tmp_path, cdm, "condition_occurrence", b"2020-03-10", written.encode())
        where = f"column `condition_start_date` of `{source['path']}/condition_occurrence.csv`"
        assert refusal(source).message == f"{where} holds something that is not a date in row 3"

    def test_a_missing_date_is_refused_with_its_row(self, tmp_path: Path) -> None:
        source = self.changed(tmp_path, one_person(), "condition_occurrence", b"2020-03-01", b"")
        assert refusal(source).message.endswith("holds nothing in row 1")

    def test_a_number_that_is_none_is_refused_with_its_row(self, tmp_path: Path) -> None:
        cdm = one_person().value(7, 30, -2, 1.0).value(7, 30, -1, 12.25)
        fields = {"x": {"take": "mean", **window("measurement", [30], -9, 0)}}
        for written in ("12,25", "12.25 kg", SECRET, "nan", "inf"):
            source = self.changed(tmp_path, cdm, "measurement", b"12.25", f'"{written}"'.encode())
            assert refusal(source, fields=fields).message == (
                f"column `value_as_number` of `{source['path']}/measurement.csv`"
                " holds something that is not a number in row 2"
            )
        source = self.changed(tmp_path, cdm, "measurement", b"12.25", b"+1.2e1")
        assert table(source, fields=fields)[7]["x"] == 6.5

    def test_an_id_that_is_none_is_refused_with_its_row(self, tmp_path: Path) -> None:
        source = self.changed(tmp_path, one_person(), "person", b"7,8507", SECRET.encode() + b",8507")
        assert refusal(source).message.endswith("person.csv` holds something that is not a whole number in row 1")
        source = self.changed(tmp_path, one_person(), "person", b"7,8507", b"7.0,8507.")
        assert table(source, fields={"sex": {"person": "sex"}})[7]["sex"] == "male"

    def test_a_ragged_file_is_refused(self, tmp_path: Path) -> None:
        source = self.changed(tmp_path, one_person(), "person", b"7,8507", b"7,8507,8")
        assert "row 1 has 8 fields, the header 7" in refusal(source).message

    def test_two_files_for_one_table_are_refused(self, tmp_path: Path) -> None:
        source = write_csv(tmp_path, one_person())
        (Path(source["path"]) / "Person.CSV").write_bytes(csv_text("person", []))
        assert refusal(source).message == f"`{source['path']}` has two files for the table `person`"

    def test_a_file_that_leads_out_of_the_folder_is_refused(self, tmp_path: Path) -> None:
        source = write_csv(tmp_path, one_person())
        file = Path(source["path"]) / "person.csv"
        elsewhere = file.rename(tmp_path / f"{SECRET}.csv")
        file.symlink_to(elsewhere)
        assert refusal(source).message == f"`{file}` leads out of its folder"
        file.unlink()
        file.symlink_to(file.name)
        assert refusal(source).message == f"`{file}` cannot be opened"

    def test_a_truncated_archive_is_refused(self, tmp_path: Path) -> None:
        source = write_zip(tmp_path, one_person())
        path = Path(source["path"])
        path.write_bytes(path.read_bytes()[:-50])
        assert refusal(source).message == f"`{path}` is not a readable zip archive"

    def test_a_damaged_archive_is_refused(self, tmp_path: Path) -> None:
        source = write_zip(tmp_path, one_person())
        path = Path(source["path"])
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo("CONDITION_OCCURRENCE.csv")
        content = bytearray(path.read_bytes())
        start = info.header_offset + 30 + len(info.filename)
        content[start : start + info.compress_size] = b"\xaa" * info.compress_size
        path.write_bytes(content)
        assert refusal(source).message == f"`{path}/CONDITION_OCCURRENCE.csv` cannot be unpacked"

    def test_a_bomb_is_not_unpacked(self, tmp_path: Path) -> None:
        path = Path(write_zip(tmp_path, one_person())["path"])
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        files["PERSON.csv"] += b"," * (32 << 20)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        error = refusal({"kind": "csv-folder", "path": str(path)})
        assert error.message == f"`{path}/PERSON.csv` unpacks to over 100 times its size"

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "export")
        error = refusal({"kind": "csv-folder", "path": str(tmp_path / "export")})
        assert error.message == f"`{tmp_path}/export` is neither a folder nor a file"

    def test_a_folder_that_may_not_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def denied(_: Path) -> Any:
            raise PermissionError(13, "Permission denied")

        source = write_csv(tmp_path, one_person())
        monkeypatch.setattr(Path, "iterdir", denied)  # whoever runs the tests may be allowed everything
        assert refusal(source).message == f"`{source['path']}` cannot be opened: permission denied"

    def test_a_folder_inside_the_archive_does_no_harm(self, tmp_path: Path) -> None:
        source = write_csv(tmp_path, one_person())
        with zipfile.ZipFile(tmp_path / "nested.zip", "w") as archive:
            for path in Path(source["path"]).iterdir():
                archive.write(path, f"2020/cdm/{path.name}")
        assert set(table({"kind": "csv-folder", "path": str(tmp_path / "nested.zip")})) == {7}


class TestPostgresql:
    def test_the_schema_that_is_named_is_the_one_that_is_read(
        self, postgresql: PostgresqlServer, database: str
    ) -> None:
        write_postgresql(postgresql, database, Cdm())
        source = write_postgresql(postgresql, database, one_person(), schema="cdm_2020")
        assert set(table(source)) == {7}
        assert table(source | {"schema": "public"}) == {}

    def test_what_is_missing_is_named(self, postgresql: PostgresqlServer, database: str) -> None:
        source = write_postgresql(postgresql, database, one_person())
        postgresql.execute("ALTER TABLE person RENAME COLUMN year_of_birth TO born", database=database)
        said = f"table `person` of `{database}.public` has no column `year_of_birth` of OMOP CDM 5.4"
        assert refusal(source).message == said
        postgresql.execute("ALTER TABLE person RENAME TO patient", database=database)
        assert refusal(source).message == f"`{database}.public` has no table `person` of OMOP CDM 5.4"

    @pytest.mark.parametrize(
        ("column", "belongs"), [("condition_start_date", "a date"), ("condition_concept_id", "a whole number")]
    )
    def test_text_where_something_else_belongs(
        self, column: str, belongs: str, postgresql: PostgresqlServer, database: str
    ) -> None:
        source = write_postgresql(postgresql, database, one_person())
        change = f"ALTER TABLE condition_occurrence ALTER COLUMN {column} TYPE text"
        postgresql.execute(change, f"UPDATE condition_occurrence SET {column} = '{SECRET}'", database=database)
        where = f"column `{column}` of table `condition_occurrence` of `{database}.public`"
        assert refusal(source).message == f"{where} is of type text, where {belongs} belongs"

    @pytest.mark.parametrize("kind", ["real", "double precision", "numeric", "integer"])
    def test_values_of_every_type_of_number(self, kind: str, postgresql: PostgresqlServer, database: str) -> None:
        source = write_postgresql(postgresql, database, one_person().value(7, 30, -1, 5).value(7, 30, -2, 8))
        change = f"ALTER TABLE measurement ALTER COLUMN value_as_number TYPE {kind}"
        postgresql.execute(change, database=database)
        fields = {"x": {"take": "mean", **window("measurement", [30], -9, 0)}}
        assert table(source, fields=fields) == {7: {"who": 7, "x": 6.5}}

    @pytest.mark.parametrize("odd", ["NaN", "Infinity", "-Infinity"])
    @pytest.mark.parametrize("kind", ["double precision", "numeric"])
    def test_a_value_that_is_no_number(self, kind: str, odd: str, postgresql: PostgresqlServer, database: str) -> None:
        source = write_postgresql(postgresql, database, one_person().value(7, 30, -1, 5).value(7, 30, -2, 8))
        change = f"ALTER TABLE measurement ALTER COLUMN value_as_number TYPE {kind}"
        update = f"UPDATE measurement SET value_as_number = '{odd}' WHERE measurement_id = 2"
        postgresql.execute(change, update, database=database)
        error = refusal(source, fields={"x": {"take": "maximum", **window("measurement", [30], -9, 0)}})
        where = f"column `value_as_number` of table `measurement` of `{database}.public`"
        assert error.message == f"{where} holds something that is not a number in 1 record"

    def test_an_id_with_a_fraction(self, postgresql: PostgresqlServer, database: str) -> None:
        source = write_postgresql(postgresql, database, one_person())
        change = "ALTER TABLE person ALTER COLUMN person_id TYPE numeric"
        postgresql.execute(change, database=database)
        assert set(table(source)) == {7}
        postgresql.execute("UPDATE person SET person_id = 7.5", database=database)
        where = f"column `person_id` of table `person` of `{database}.public`"
        assert refusal(source).message == f"{where} holds something that is not a whole number in 1 record"

    @pytest.mark.parametrize("odd", ["infinity", "-infinity"])
    def test_a_day_that_never_comes(self, odd: str, postgresql: PostgresqlServer, database: str) -> None:
        source = write_postgresql(postgresql, database, one_person())
        change = f"UPDATE observation_period SET observation_period_end_date = '{odd}'"
        postgresql.execute(change, database=database)
        where = f"column `observation_period_end_date` of table `observation_period` of `{database}.public`"
        assert refusal(source).message == f"{where} holds no date in 1 record"

    def test_a_record_without_a_date(self, postgresql: PostgresqlServer, database: str) -> None:
        source = write_postgresql(postgresql, database, one_person().event(7, "condition", 1, 9))
        postgresql.execute("UPDATE condition_occurrence SET condition_start_date = NULL", database=database)
        assert refusal(source).message.endswith("holds no date in 2 records")

    def test_a_table_that_may_not_be_read(self, postgresql: PostgresqlServer, database: str) -> None:
        source = write_postgresql(postgresql, database, one_person())
        postgresql.execute("REVOKE SELECT ON condition_occurrence FROM reader", database=database)
        assert refusal(source).message == f"user `reader` may not read `{database}.public`"
