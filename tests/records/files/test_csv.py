# SPDX-License-Identifier: Apache-2.0
"""What is peculiar to CSV."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloister.errors import RecordsError
from cloister.records import open_store
from cloister.records.files.csv import CsvStore
from tests.records.contract import SECRET, everything, refusal
from tests.records.writers import dataset, rows, write_csv


class TestCsv:
    HEADER = b"note_id,patient_id,note,triage\n"

    def written(self, folder: Path, content: bytes) -> Path:
        (folder / "notes.csv").write_bytes(content)
        return folder / "notes.csv"

    def read(self, folder: Path, content: bytes) -> list[tuple[str | None, ...]]:
        path = self.written(folder, content)
        return everything(open_store(dataset("csv", path.name), root=folder), "note", "triage")

    def test_rows_with_too_few_or_too_many_fields_are_named(self, tmp_path: Path) -> None:
        for row, fields in ((b"1,2,%b", 3), (b"1,2,%b,soon,5", 5), (b"1,2,caf\xe9 %b,soon,5", 5)):
            content = self.HEADER + b"1,2,x,soon\n" * 4 + row % SECRET.encode() + b"\n"
            error = refusal(self.written(tmp_path, content), "csv")
            assert f"row 5 has {fields} fields, the header 4" in error.message

    def test_bytes_that_are_no_utf8_name_column_and_row(self, tmp_path: Path) -> None:
        content = self.HEADER + b"1,2,x,soon\n" + b"1,2,caf\xe9 %b,soon\n" % SECRET.encode()
        error = refusal(self.written(tmp_path, content), "csv")
        assert error.message == "column `note` of `notes.csv` is not UTF-8 in row 2"

    def test_a_column_that_nobody_asked_for_may_hold_anything(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, self.HEADER + b"1,\xff\xfe,x,soon\n") == [("x", "soon")]

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
    def test_other_encodings_of_unicode_are_refused(self, encoding: str, tmp_path: Path) -> None:
        content = (self.HEADER.decode() + f"1,2,{SECRET},soon\n").encode(encoding)
        assert "has no readable header line" in refusal(self.written(tmp_path, content), "csv").message

    def test_latin1_names_column_and_row(self, tmp_path: Path) -> None:
        content = (self.HEADER.decode() + f"1,2,x,soon\n1,2,{SECRET} naïf,soon\n").encode("latin-1")
        error = refusal(self.written(tmp_path, content), "csv")
        assert error.message == "column `note` of `notes.csv` is not UTF-8 in row 2"

    def test_latin1_in_the_header_is_refused(self, tmp_path: Path) -> None:
        content = "note_id,patient_id,note,triage,größe\n1,2,x,soon,1\n".encode("latin-1")
        assert "has no readable header line" in refusal(self.written(tmp_path, content), "csv").message

    @pytest.mark.parametrize(
        ("tail", "said"),
        [
            (b'1,2,"x,soon\n1,2,y,soon\n', "`notes.csv` is not a readable CSV file: row 1 has 3 fields, the header 4"),
            (b'1,2,x,"soon', "`notes.csv` opens a double quote that it never closes"),
            (b'1,2,x,soon\n1,2,y,"soon\n', "`notes.csv` opens a double quote that it never closes"),
        ],
    )
    def test_a_quote_that_is_never_closed_is_refused(self, tail: bytes, said: str, tmp_path: Path) -> None:
        assert refusal(self.written(tmp_path, self.HEADER + tail), "csv").message == said

    def test_a_row_longer_than_a_block_is_refused(self, tmp_path: Path) -> None:
        content = self.HEADER + b'1,2,"' + SECRET.encode() * 200_000 + b'",soon\n'
        assert "longer than 1 MiB" in refusal(self.written(tmp_path, content), "csv").message

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
    def test_any_line_end_will_do(self, end: bytes, tmp_path: Path) -> None:
        content = (self.HEADER + b"1,2,x,soon\n1,2,y,urgent\n").replace(b"\n", end)
        assert self.read(tmp_path, content) == [("x", "soon"), ("y", "urgent")]
        assert self.read(tmp_path, b"\xef\xbb\xbf" + content.rstrip()) == [("x", "soon"), ("y", "urgent")]

    def test_a_header_alone_is_an_empty_table(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, self.HEADER) == []
        assert self.read(tmp_path, self.HEADER.rstrip()) == []

    def test_words_for_nothing_are_words(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, self.HEADER + b"1,2,NA,null\n1,2,,\n") == [("NA", "null"), ("", "")]

    def test_two_columns_of_one_name_are_refused(self, tmp_path: Path) -> None:
        content = b"note_id,patient_id,note,note,triage\n1,2,x,y,soon\n"
        assert "has 2 columns called `note`" in refusal(self.written(tmp_path, content), "csv").message

    def test_an_endless_header_is_not_read_to_its_end(self, tmp_path: Path) -> None:
        path = self.written(tmp_path, b'"' + b"x" * (2 << 20))
        with pytest.raises(RecordsError, match="a header line longer than 1 MiB"):
            CsvStore(path, "notes.csv").column_names()

    def test_a_table_may_be_wide(self, tmp_path: Path) -> None:
        names = [f"expression_of_gene_{n}" for n in range(20_000)]
        path = tmp_path / "notes.csv"
        path.write_text(",".join(names) + "\n" + ",".join(map(str, range(20_000))) + "\n")
        store = CsvStore(path, "notes.csv")
        assert store.column_names() == tuple(names)
        assert everything(store, names[-1], names[0]) == [("19999", "0")]

    def test_a_stray_record_does_not_end_up_in_the_header(self, tmp_path: Path) -> None:
        write_csv(tmp_path / "notes.csv", rows(2))
        assert CsvStore(tmp_path / "notes.csv", "notes.csv").column_names()[2] == "note"
