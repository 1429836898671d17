# SPDX-License-Identifier: Apache-2.0
"""Exports that are not what they should be: each refused in one sentence that says where, and shows nothing of it."""

from __future__ import annotations

import gzip
import io
import json
import os
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.errors import RecordsError
from cloister.records.fhir import reader as fhir_reader
from cloister.records.fhir.bundle import NotABundleError, entries
from cloister.records.fhir.json_text import MAXIMUM_DEPTH, MAXIMUM_RESOURCE_CHARACTERS, NotFhirJsonError, check_depth
from cloister.records.fhir.reader import files_of, items_of
from tests.records.contract import SECRET
from tests.records.fhir_export import Resource, bundle, patient, refused, table, write_bundle, write_ndjson

ID = {"patient_id": {"path": "id"}}
GOOD = json.dumps(patient("a")).encode() + b"\n"


def ndjson(folder: Path, content: bytes, name: str = "Patient.ndjson") -> Path:
    (folder / "lake").mkdir(exist_ok=True)
    path = folder / "lake" / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder


def nested(depth: int) -> str:
    return '{"resourceType":"Patient","id":"n","extension":' + '[{"extension":' * depth + "[]" + "}]" * depth + "}"


class TestFolders:
    def test_nothing_there(self, tmp_path: Path) -> None:
        assert refused(tmp_path).message == "`lake` does not exist"
        (tmp_path / "lake").mkdir()
        assert refused(tmp_path).message == "the folder `lake` holds no FHIR records"

    def test_only_records_are_read(self, tmp_path: Path) -> None:
        write_ndjson(tmp_path / "lake" / "Patient.ndjson", patient("a"))
        for name in ("README.txt", "._Patient.ndjson", "Patient.ndjson.bak", "Patient.csv"):
            (tmp_path / "lake" / name).write_text(SECRET)
        (tmp_path / "lake" / "old.ndjson").mkdir()
        os.mkfifo(tmp_path / "lake" / "pipe.ndjson")  # opening it would wait for ever
        assert table(tmp_path, ID) == [("a",)]

    def test_a_file_that_leads_out_of_the_folder_is_refused(self, tmp_path: Path) -> None:
        write_ndjson(tmp_path / "other" / f"{SECRET}.ndjson", patient("a"))
        write_ndjson(tmp_path / "lake" / "Patient.ndjson", patient("b"))
        (tmp_path / "lake" / "more.ndjson").symlink_to(tmp_path / "other" / f"{SECRET}.ndjson")
        assert refused(tmp_path).message == "file 2 of 2 in `lake` leads out of its folder"
        (tmp_path / "lake" / "more.ndjson").unlink()
        (tmp_path / "lake").rename(tmp_path / "there")
        (tmp_path / "lake").symlink_to("there")  # the folder itself is the silo document's word
        assert table(tmp_path, ID) == [("b",)]

    def test_files_of_all_kinds_together_in_the_order_of_their_names(self, tmp_path: Path) -> None:
        write_ndjson(tmp_path / "lake" / "b.ndjson", patient("b"))
        write_bundle(tmp_path / "lake" / "c.json", patient("c"))
        ndjson(tmp_path, GOOD, "a.ndjson.gz")
        assert table(tmp_path, ID) == [("a",), ("b",), ("c",)]

    def test_one_file(self, tmp_path: Path) -> None:
        write_ndjson(tmp_path / "x.ndjson", patient("a"))
        ((path, named),) = files_of(tmp_path / "x.ndjson", "x.ndjson")
        assert [item.resource["id"] for item in items_of(path, named)] == ["a"]
        (tmp_path / "x.csv").touch()
        with pytest.raises(RecordsError, match="is neither a folder nor a file of FHIR's"):
            files_of(tmp_path / "x.csv", "x.csv")

    def test_a_file_that_is_named_after_a_patient_is_not_named(self, tmp_path: Path) -> None:
        names = [f"{SECRET}.json", "Patient.ndjson", "1.Observation-000.ndjson.gz", "Miller.ndjson"]
        for name in names:
            write_ndjson(tmp_path / name)
        assert [named for _, named in files_of(tmp_path, "lake")] == [
            "`lake/1.Observation-000.ndjson.gz`",
            "file 2 of 4 in `lake`",
            "`lake/Patient.ndjson`",
            "file 4 of 4 in `lake`",
        ]


class TestLines:
    @pytest.mark.parametrize(
        ("line", "what"),
        [
            (f'{{"id": "{SECRET}"'.encode(), "is not JSON"),
            (b"[1, 2", "is not JSON"),
            (b'{"resourceType":"Patient","id":"x"} {}', "is not JSON"),
            (b'"' + SECRET.encode() + b'"', "is no FHIR resource"),
            (b"[]", "is no FHIR resource"),
            (b"null", "is no FHIR resource"),
            (b'{"id":"x"}', "is of no resource type that FHIR R4 knows"),
            (f'{{"resourceType":"{SECRET}"}}'.encode(), "is of no resource type that FHIR R4 knows"),
            (b'{"resourceType":["Patient"]}', "is of no resource type that FHIR R4 knows"),
            (b'{"resourceType":"HumanName"}', "is of no resource type that FHIR R4 knows"),
            (b'{"resourceType":"DomainResource"}', "is of no resource type that FHIR R4 knows"),
            (b'{"resourceType":"__class__"}', "is of no resource type that FHIR R4 knows"),
            (json.dumps(bundle(patient("b"))).encode(), "is a bundle inside another file"),
            (b'{"resourceType":"Patient","id":"caf\xe9"}', "is not UTF-8"),
            ('{"resourceType":"Patient","id":"x"}'.encode("utf-16"), "is not UTF-8"),
            (b'{"resourceType":"Patient","id":"b","id":"c"}', "gives a property twice in one object"),
            (
                b'{"resourceType":"Patient","id":"b","multipleBirthInteger":NaN}',
                "holds a number that JSON does not know",
            ),
            (b'{"resourceType":"Patient","id":"b","multipleBirthInteger":' + b"9" * 5000 + b"}", "is not JSON"),
            (b'{"resourceType":"Patient"}', "is a `Patient` without an id"),
            (b'{"resourceType":"Patient","id":7}', "is a `Patient` without an id"),
            (nested(10_000).encode(), f"is nested deeper than {MAXIMUM_DEPTH} levels"),
            (nested(100).encode(), f"is nested deeper than {MAXIMUM_DEPTH} levels"),
            (b"[" * 100_000, f"is nested deeper than {MAXIMUM_DEPTH} levels"),
        ],
    )
    def test_a_line_that_cannot_be_taken_apart(self, line: bytes, what: str, tmp_path: Path) -> None:
        error = refused(ndjson(tmp_path, GOOD + b"\n" + line + b"\n"))
        assert error.message == f"line 3 of `lake/Patient.ndjson` {what}"

    def test_types_that_no_column_needs_are_let_be(self, tmp_path: Path) -> None:
        others = b'{"resourceType":"MedicinalProduct","x":1}\n{"resourceType":"OperationOutcome"}\n'
        assert table(ndjson(tmp_path, GOOD + others), ID) == [("a",)]

    def test_line_ends_and_marks_of_byte_order(self, tmp_path: Path) -> None:
        content = b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n") + json.dumps(patient("b")).encode()
        assert table(ndjson(tmp_path, content), ID) == [("a",), ("b",)]

    def test_an_empty_file_is_named(self, tmp_path: Path) -> None:
        assert refused(ndjson(tmp_path, b"")).message == "`lake/Patient.ndjson` is an empty file"

    def test_a_line_without_end(self, tmp_path: Path) -> None:
        content = GOOD + b'{"resourceType":"Patient","id":"' + b"x" * (MAXIMUM_RESOURCE_CHARACTERS + 9)
        error = refused(ndjson(tmp_path, content))
        assert error.message == "line 2 of `lake/Patient.ndjson` is longer than 16 Mi characters, or is not JSON"

    def test_more_blank_lines_than_anybody_means(self, tmp_path: Path) -> None:
        error = refused(ndjson(tmp_path, b"\n" * 5000))
        assert error.message == "line 1001 of `lake/Patient.ndjson` is the 1001th blank one"


class TestGzip:
    def test_cut_off_damaged_or_something_else(self, tmp_path: Path) -> None:
        whole = gzip.compress(b"".join(json.dumps(patient(f"p{n}")).encode() + b"\n" for n in range(500)))
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 0xFF
        folder = ndjson(tmp_path, b"")
        for content in (whole[:-1], whole[: len(whole) // 2], whole[:5], bytes(damaged), SECRET.encode()):
            (folder / "lake" / "Patient.ndjson").unlink(missing_ok=True)
            (folder / "lake" / "Patient.ndjson.gz").write_bytes(content)
            error = refused(folder)
            assert error.message.startswith(("`lake/Patient.ndjson.gz` is no whole gzip file", "line "))

    @pytest.mark.parametrize("unit", [b"\0", b"\n"])
    def test_ten_gigabytes_in_ten_megabytes_are_not_unpacked(self, unit: bytes, tmp_path: Path) -> None:
        (tmp_path / "lake").mkdir()
        member = gzip.compress(unit * (64 << 20))  # a file may have several
        (tmp_path / "lake" / "Patient.ndjson.gz").write_bytes(member * 160)
        before = time.monotonic()
        tracemalloc.start()
        try:
            assert refused(tmp_path).message.startswith("line ")
            assert tracemalloc.get_traced_memory()[1] < 80 << 20
        finally:
            tracemalloc.stop()
        assert time.monotonic() - before < 20

    def test_lines_without_number_in_little_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fhir_reader, "_FREE_BYTES", 1 << 16)
        error = refused(ndjson(tmp_path, b'{"resourceType":"Basic"}\n' * 100_000, "Patient.ndjson.gz"))
        assert error.message.startswith("line ")
        assert error.message.endswith("of `lake/Patient.ndjson.gz` is where the file unpacks to 100 times its size")


def read(text: str, size: int = 1 << 20) -> list[object]:
    stream = io.StringIO(text)
    return list(entries(lambda count: stream.read(min(count, size))))


class TestBundles:
    @pytest.mark.parametrize("size", [1, 2, 7, 1000])
    def test_entries_come_one_by_one_whatever_the_pieces(self, size: int) -> None:
        text = (
            ' { "total" : 123 , "entry" : [ {"a": [1, "]}\\""]} ,{} ] , "type":"batch", "resourceType" : "Bundle" } \n'
        )
        assert read(text, size) == [{"a": [1, ']}"']}, {}]

    @pytest.mark.parametrize("kind", ["collection", "transaction", "searchset", "batch"])
    def test_what_holds_records(self, kind: str) -> None:
        assert read(json.dumps(bundle(patient("a"), kind=kind))) == [{"resource": patient("a")}]

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("[]", "is no JSON object"),
            (json.dumps(patient("a")), "is no FHIR bundle"),
            ('{"type":"batch"}', "is no FHIR bundle: it has no `resourceType`"),
            ('{"resourceType":"Bundle"}', "is no FHIR bundle: it has no `type`"),
            ('{"transactionTime":"x","output":[]}', "is no FHIR bundle: it has no `resourceType`"),
            ('{"resourceType":"Bundle","type":"batch"} {}', "goes on after the bundle's end"),
            ('{"resourceType":"Bundle","type":"batch","entry":[],"entry":[]}', "gives a property twice"),
            ('{"resourceType":"Bundle","type":["batch"]}', "is a bundle of a type other than"),
            *[
                (json.dumps(bundle(patient("a"), kind=kind)), "is a bundle of a type other than")
                for kind in ("document", "message", "history", "batch-response", SECRET)
            ],
        ],
    )
    def test_what_is_no_bundle_of_records(self, text: str, what: str) -> None:
        with pytest.raises(NotABundleError) as caught:
            read(text)
        assert str(caught.value).startswith(what)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize(
        "text",
        [
            '{"resourceType":"Bundle","type":"batch","entry":[{}',
            '{"resourceType":"Bundle","type":"batch","entry":[{},',
            '{"resourceType":"Bundle","type":"batch","entry":[{"a"',
            '{"resourceType":"Bundle","type":"batch","entry":[{}{}]}',
            '{"resourceType":"Bundle","type":"batch","entry":[,]}',
            '{"resourceType":"Bundle","type":"batch","entry":[{},]}',
            '{"resourceType":"Bundle","type":"batch","entry":{}}',
            '{"resourceType":"Bundle","type":"batch","entry":null}',
            '{"resourceType":"Bundle","type":"batch",}',
            '{"resourceType":"Bundle" "type":"batch"}',
            '{"resourceType"',
            '{"resourceType":',
            "{1:2}",
            "{",
        ],
    )
    @pytest.mark.parametrize("size", [1, 1000])
    def test_what_is_not_json(self, text: str, size: int) -> None:
        with pytest.raises(NotFhirJsonError):
            read(text, size)

    def test_an_entry_without_end_is_not_held_without_end(self) -> None:
        taken = 0

        def endless(count: int) -> str:
            nonlocal taken
            taken += count
            return '{"resourceType":"Bundle","type":"batch","entry":["' if taken == count else "x" * count

        with pytest.raises(NotFhirJsonError, match="is longer than 16 Mi characters"):
            list(entries(endless))
        assert taken < 6 * MAXIMUM_RESOURCE_CHARACTERS

    def test_any_number_of_entries_takes_the_memory_of_one(self) -> None:
        pieces: Iterator[str] = iter(
            ['{"resourceType":"Bundle","type":"batch","entry":[{}', *([',{"resource":{}}' * 10_000] * 5), "]}"]
        )
        tracemalloc.start()
        try:
            assert sum(1 for _ in entries(lambda _: next(pieces, ""))) == 50_001
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()

    def test_files_name_the_entry(self, tmp_path: Path) -> None:
        path = tmp_path / "lake" / f"{SECRET}.json"
        good: list[Resource] = [patient("a"), patient("b")]
        text = json.dumps(bundle(*good))
        path.parent.mkdir()
        for old, new, message in (
            (
                '{"resource": {"resourceType": "Patient", "id": "b"}}',
                SECRET,
                "entry 2 of file 1 of 1 in `lake` is not JSON, or cut off",
            ),
            ('"id": "b"}}]}', '"id": "b"', "entry 2 of file 1 of 1 in `lake` is not JSON, or cut off"),
            (
                '{"resource": {"resourceType": "Patient", "id": "b"}}',
                "{}",
                "entry 2 of file 1 of 1 in `lake` holds no resource",
            ),
            (
                '"id": "b"',
                f'"resourceType": "{SECRET}"',
                "entry 2 of file 1 of 1 in `lake` gives a property twice in one object",
            ),
            (
                '"id": "b"',
                '"id": "a", "active": {}',
                "entry 2 of file 1 of 1 in `lake` is another `Patient` of an id or address that was there before",
            ),
            (
                '"Patient", "id": "b"',
                f'"{SECRET}"',
                "entry 2 of file 1 of 1 in `lake` is of no resource type that FHIR R4 knows",
            ),
            (
                '"collection"',
                '"document"',
                "file 1 of 1 in `lake` is a bundle of a type other than batch, collection, searchset, transaction",
            ),
        ):
            assert old in text
            path.write_text(text.replace(old, new), encoding="utf-8")
            assert refused(tmp_path).message == message
        path.write_bytes(text.encode().replace(b'"b"', b'"\xff"'))
        assert refused(tmp_path).message == "file 1 of 1 in `lake` is not UTF-8 in or behind entry 1"


def test_depth_is_measured_without_recursion() -> None:
    value: object = {}
    for _ in range(200_000):
        value = {"a": [value]}
    with pytest.raises(NotFhirJsonError, match="is nested deeper"):
        check_depth(value)
    value = {}
    for _ in range(MAXIMUM_DEPTH):
        value = [value]
    check_depth(value)
    with pytest.raises(NotFhirJsonError):
        check_depth([value])
    while isinstance(value, list):  # so that Python needs no recursion to forget it
        value = value[0]
