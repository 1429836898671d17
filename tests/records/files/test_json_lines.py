# SPDX-License-Identifier: Apache-2.0
"""What is peculiar to JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import RecordsError
from cloister.records.files.json_lines import JsonLinesStore
from cloister.records.interface import BATCH_ROWS
from tests.records.contract import SECRET, everything, refusal

GOOD = b'{"note_id": "1", "patient_id": "2", "note": "x", "triage": "soon"}\n'


def written(folder: Path, content: bytes) -> Path:
    (folder / "notes.jsonl").write_bytes(content)
    return folder / "notes.jsonl"


def read(folder: Path, content: bytes, *columns: str) -> list[tuple[Any, ...]]:
    return everything(JsonLinesStore(written(folder, content), "notes.jsonl"), *columns)


class TestCells:
    @pytest.mark.parametrize(
        ("value", "cell"),
        [
            ('"text"', "text"),
            ('""', ""),
            ('"\\u00e9\\ud83d\\ude00\\u0000"', "é😀\0"),
            ("null", None),
            ("true", "true"),
            ("false", "false"),
            ("0.1", "0.1"),
            ("1.10", "1.10"),
            ("-0", "-0"),
            ("9007199254740993", "9007199254740993"),
            ("123456789012345678901234567890.1234567890", "123456789012345678901234567890.1234567890"),
            ("1e400", "1e400"),
            ("1" * 5000, "1" * 5000),
            ("[]", "[]"),
            ("{ }", "{}"),
            ('[ {"start": 0, "end": 4, "label": "dr\\u00fcg"} ]', '[{"start":0,"end":4,"label":"drüg"}]'),
            ('[1.10, 9007199254740993, "1", null, true, {"a": []}]', '[1.10,9007199254740993,"1",null,true,{"a":[]}]'),
            ('{"a\\"b": "c\\\\\\n"}', '{"a\\"b":"c\\\\\\n"}'),
        ],
    )
    def test_values(self, value: str, cell: str | None, tmp_path: Path) -> None:
        assert read(tmp_path, f'{{"a": {value}, "b": "."}}\n'.encode(), "b", "a") == [(".", cell)]
        if value[0] in "[{":
            assert json.loads(cell or "") == json.loads(value)

    def test_a_name_that_a_line_lacks_is_nothing(self, tmp_path: Path) -> None:
        assert read(tmp_path, b'{"b": "1"}\n{"a": "2"}\n{}\n', "a", "b") == [(None, "1"), ("2", None), (None, None)]

    def test_types_may_change_from_line_to_line(self, tmp_path: Path) -> None:
        content = b'{"a": 1}\n{"a": "1"}\n{"a": 1.0}\n{"a": [1]}\n{"a": true}\n'
        assert read(tmp_path, content, "a") == [("1",), ("1",), ("1.0",), ("[1]",), ("true",)]

    def test_names_come_from_the_first_thousand_lines(self, tmp_path: Path) -> None:
        early, late = b'{"a": "1"}\n' * 999 + b'{"b": "2"}\n', b'{"a": "1"}\n' * 1000 + b'{"b": "2"}\n'
        assert len(read(tmp_path, early, "a", "b")) == 1000
        with pytest.raises(RecordsError, match="has no column `b`"):
            read(tmp_path, late, "a", "b")

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n", b" \t\n"])
    def test_line_ends_blank_lines_and_a_byte_order_mark(self, end: bytes, tmp_path: Path) -> None:
        for content in (b"\xef\xbb\xbf" + GOOD.rstrip() + end + GOOD, end + GOOD.rstrip() + end + GOOD.rstrip()):
            assert read(tmp_path, content, "note", "triage") == [("x", "soon")] * 2

    def test_white_space_of_unicode_ends_no_line(self, tmp_path: Path) -> None:
        assert read(tmp_path, '{"a": "x\u2028y\u0085z"}\n'.encode(), "a") == [("x\u2028y\u0085z",)]

    def test_long_texts_make_batches_short(self, tmp_path: Path) -> None:
        path = written(tmp_path, (json.dumps({"a": "x" * 1_000_000}) + "\n").encode() * 40)
        sizes = [batch.num_rows for batch in JsonLinesStore(path, "notes.jsonl").batches(("a",))]
        assert sum(sizes) == 40
        assert max(sizes) <= 17


class TestRefusals:
    @pytest.mark.parametrize(
        ("line", "said"),
        [
            (b'{"note": "%b", "triage": "soon"', "is not JSON"),
            (b'{"note": "%b"} {"note": "x"}', "is not JSON"),
            (b"%b", "is not JSON"),
            (b"{'note': '%b'}", "is not JSON"),
            (b'{"note": "%b",}', "is not JSON"),
            (b'{"note": "%b\t"}', "is not JSON"),
            (b'{"note": "%b" /* x */}', "is not JSON"),
            (b'[{"note": "%b"}]', "is not a JSON object"),
            (b'"%b"', "is not a JSON object"),
            (b"17", "is not a JSON object"),
            (b"null", "is not a JSON object"),
            (b'{"note": "%b", "note": "x"}', "says a name twice"),
            (b'{"note": {"a": "%b", "a": "x"}}', "says a name twice"),
            (b'{"other": {"a": "%b", "a": "x"}}', "says a name twice"),
            (b'{"note": "%b", "n": NaN}', "holds a number that JSON does not have, such as NaN"),
            (b'{"note": "%b", "n": [-Infinity]}', "holds a number that JSON does not have, such as NaN"),
            (b'{"note": "%b \xe9"}', "is not UTF-8"),
            (b'{"note": "%b", "n": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nests too deep"),
            (b'{"note": "%b", "n": ' + b'{"a":' * 200_000 + b"1" + b"}" * 200_000 + b"}", "nests too deep"),
        ],
    )
    def test_a_broken_line_is_named(self, line: bytes, said: str, tmp_path: Path) -> None:
        broken = line.replace(b"%b", SECRET.encode())
        for content, number in (
            (broken + b"\n" + GOOD, 1),
            (GOOD * 3 + b"\n" + broken, 5),
            (GOOD * 2000 + broken, 2001),
        ):
            error = refusal(written(tmp_path, content), "json-lines")
            assert error.message == f"line {number} of `notes.jsonl` {said}"

    def test_a_line_that_breaks_after_many_gives_the_batches_before_it(self, tmp_path: Path) -> None:
        path = written(tmp_path, GOOD * (BATCH_ROWS + 1) + b"{")
        taken = 0
        with pytest.raises(RecordsError, match=f"line {BATCH_ROWS + 2} of"):
            for batch in JsonLinesStore(path, "notes.jsonl").batches(("note",)):
                taken += batch.num_rows
        assert taken == BATCH_ROWS

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
    def test_other_encodings_of_unicode(self, encoding: str, tmp_path: Path) -> None:
        error = refusal(written(tmp_path, GOOD.decode().replace("x", SECRET).encode(encoding)), "json-lines")
        assert error.message.startswith("line 1 of `notes.jsonl` is not UTF-8")

    def test_a_cell_that_nests_too_deep_is_named(self, tmp_path: Path) -> None:
        fits, too_deep = (b"[" * depth + b"]" * depth for depth in (32, 33))
        assert read(tmp_path, b'{"note": ' + fits + b"}\n", "note") == [(fits.decode(),)]
        with pytest.raises(RecordsError, match=r"column `note` in line 2 of `notes.jsonl` nests too deep"):
            read(tmp_path, GOOD + b'{"note": ' + too_deep + b"}\n", "note")
        assert read(tmp_path, GOOD + b'{"note": ' + too_deep + b"}\n", "triage") == [("soon",), (None,)]

    def test_half_a_surrogate_pair_is_named(self, tmp_path: Path) -> None:
        for cell in (rb'"\ud800 %b"', rb'["\udc00 %b"]'):
            line = b'{"triage": "soon", "note": ' + cell.replace(b"%b", SECRET.encode()) + b"}\n"
            error = refusal(written(tmp_path, GOOD + line + GOOD), "json-lines")
            assert "column `note` in line 2 of `notes.jsonl` holds half a surrogate pair" in error.message

    def test_a_line_that_never_ends_is_not_read_to_its_end(self, tmp_path: Path) -> None:
        path = written(tmp_path, GOOD + b'{"note": "' + SECRET.encode() * 1_000_000 + b'"}')
        assert refusal(path, "json-lines").message == "line 2 of `notes.jsonl` is longer than 8 MiB"

    @pytest.mark.parametrize("content", [b"\n\n \n", b"{}\n{}\n", b"\xef\xbb\xbf"])
    def test_a_file_without_a_column(self, content: bytes, tmp_path: Path) -> None:
        message = refusal(written(tmp_path, content), "json-lines").message
        assert message == "`notes.jsonl` has no line that names a column"
