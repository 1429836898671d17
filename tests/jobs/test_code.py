# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cloister.documents import parse
from cloister.errors import DeniedError, InvalidDocumentsError, JobError
from cloister.files import canonical_json, sha256_of
from cloister.jobs import Code, Job, code_of
from cloister.jobs.code import MAXIMUM_BYTES, MAXIMUM_FILES, read_code
from tests.federation_folder import default_job, merged

TRAINER = "class Trainer:\n    pass\n"


def code(**others: str) -> Code:
    return Code({"trainer.py": TRAINER, **{name.replace("__", "."): text for name, text in others.items()}})


def folder_of(place: Path, files: dict[str, str | bytes]) -> Path:
    for path, content in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return place


def sent(files: object) -> bytes:
    return canonical_json({"files": files})


# --- one spelling, one digest


def test_arrives_as_it_was_sent() -> None:
    written = code(weights__json='{"a": 1}\n', notes__md="für später\n\tä")
    assert Code.from_bytes(written.to_bytes()) == written


def test_digest_is_that_of_the_canonical_json_whatever_the_order_of_the_files() -> None:
    one, other = {"trainer.py": TRAINER, "a.txt": "x"}, {"a.txt": "x", "trainer.py": TRAINER}
    assert Code(one).digest == Code(other).digest == sha256_of(canonical_json({"files": one}))
    assert Code({"trainer.py": "pass\n"}).digest == "4fdf0972fb745eaec43313096b4516021750e752e7c68a4db6c05737a1e39c1f"


def test_another_text_name_or_file_is_another_digest() -> None:
    digests = {
        Code(files).digest
        for files in (
            {"trainer.py": TRAINER},
            {"trainer.py": TRAINER + " "},
            {"trainer.py": TRAINER, "a.txt": ""},
            {"trainer.py": TRAINER, "b.txt": ""},
        )
    }
    assert len(digests) == 4


BLANK = "\u115f\u1160\u3164\uffa0\u2800\U0001d159"  # letters and symbols to Unicode
VISIBLE = st.characters(categories=("L", "N", "P", "S"), exclude_characters=BLANK)


@given(st.text(alphabet=VISIBLE | st.sampled_from(" \n\t"), max_size=200))
def test_any_printable_text_survives_the_way(text: str) -> None:
    written = Code({"trainer.py": TRAINER, "notes.txt": text})
    assert Code.from_bytes(written.to_bytes()).files["notes.txt"] == text


def test_files_cannot_be_exchanged_afterwards() -> None:
    with pytest.raises(TypeError):
        code().files["trainer.py"] = "import os"  # type: ignore[index]


# --- what may not travel

BAD_NAMES = [
    "../a.py",
    "/a.py",
    "a/../b.py",
    "./a.py",
    "a//b.py",
    ".hidden.py",
    "a/.hidden.py",
    "__pycache__/a.py",
    "a\\b.py",
    "a b.py",
    "ä.py",
    "a.py\n",
    "-a.py",
    "a.b.py",
    "a/b/c/d/e/f.py",
    f"{'a' * 70}.py",
    ".py",
    "",
    "trainer.pyc",
    "a.so",
    "a.pth",
    "a.PY",
    "a",
    "a.py/b.py",
]

ODD_TEXTS = {
    "a null": "\0",
    "an escape sequence": "\x1b[2J",
    "a carriage return": "x = 1\r# y",
    "a form feed": "\x0c",
    "text turned around": "# \u202e",
    "a character without width": "a\u200bb",
    "a byte order mark": "\ufeffx",
    "another end of line": "# x\u2028import os",
    "half of a character": "\ud800",
    "a joiner without width": "a\u034fb",
    "a variation selector": "a\ufe0f",
    "a supplementary variation selector, in which bytes can be hidden": "a\U000e0100\U000e01ef",
    "a tag": "a\U000e0041",
    "a Hangul filler": "\u3164 = 1",
    "a halfwidth Hangul filler": "\uffa0",
    "a Hangul consonant filler": "\u115f",
    "an empty Braille pattern": "a\u2800b",
    "an unassigned invisible": "\U000e0fff",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_refuses_names_that_are_not_plain(name: str) -> None:
    with pytest.raises(DeniedError, match="training code"):
        Code.from_bytes(sent({"trainer.py": TRAINER, name: ""}))


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_refuses_text_that_a_reviewer_would_not_see_as_it_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"whose line \d+ has the unprintable U\+"):
        Code({"trainer.py": TRAINER, "a.txt": text})
    with pytest.raises(DeniedError):
        Code.from_bytes(json.dumps({"files": {"a.txt": text, "trainer.py": TRAINER}}, separators=(",", ":")).encode())


def test_python_is_ascii() -> None:
    """Letters of other scripts look like Latin ones, and Python takes some for the same name (PEP 3131)."""
    for line in ("v\u0430lue = 1", "# f\u00fcr", "\u1d49\u02e3\u1d49\u1d9c('1')"):
        with pytest.raises(ValueError, match=r"`loss.py`, whose line 2 has U\+[0-9A-F]{4}, which is not ASCII"):
            Code({"trainer.py": TRAINER, "loss.py": f"\n{line}\n"})
        Code({"trainer.py": TRAINER, "notes.md": f"\n{line}\n"})


@pytest.mark.parametrize("encoding", ["utf-7", "latin-1", "raw_unicode_escape", "rot13", "no-such"])
def test_refuses_python_that_declares_another_encoding(encoding: str) -> None:
    with pytest.raises(ValueError, match="another encoding"):
        Code({"trainer.py": f"# -*- coding: {encoding} -*-\n"})
    Code({"trainer.py": f"# one\n# two\n# coding: {encoding}\n"})  # from the third line on it declares nothing


def test_accepts_python_that_declares_utf_8() -> None:
    Code({"trainer.py": "# -*- coding: utf-8 -*-\n"})


def test_refuses_too_many_files() -> None:
    files = {f"f{number}.txt": "" for number in range(MAXIMUM_FILES - 1)}
    Code({"trainer.py": TRAINER, **files})
    with pytest.raises(DeniedError, match=f"more than {MAXIMUM_FILES} files"):
        Code.from_bytes(sent({"trainer.py": TRAINER, **files, "one-more.txt": ""}))


def test_refuses_too_much_text_counted_in_bytes() -> None:
    room = MAXIMUM_BYTES - len(TRAINER)
    Code({"trainer.py": TRAINER, "a.txt": "\n" * room})
    for text in ("\n" * (room + 1), "ä" * (room // 2 + 1)):
        with pytest.raises(DeniedError, match="more than 512 KiB"):
            Code.from_bytes(sent({"trainer.py": TRAINER, "a.txt": text}))


def test_the_largest_code_arrives() -> None:
    """Every character of it needs two bytes in JSON."""
    largest = Code({"trainer.py": TRAINER, "a.txt": '"' * (MAXIMUM_BYTES - len(TRAINER))})
    assert Code.from_bytes(largest.to_bytes()) == largest


def test_refuses_code_without_a_trainer() -> None:
    for files in ({}, {"a.py": ""}, {"sub/trainer.py": TRAINER}):
        with pytest.raises(DeniedError, match=r"holds no `trainer\.py`"):
            Code.from_bytes(sent(files))


HOSTILE = {
    "nothing": b"",
    "no JSON": b"files",
    "a list": b"[]",
    "a number": b"7",
    "files that are a list": b'{"files":["trainer.py"]}',
    "a file that is no text": b'{"files":{"trainer.py":7}}',
    "a file that is a folder": b'{"files":{"trainer.py":{"a":"b"}}}',
    "deep nesting": b"[" * 100_000,
    "a long number": b'{"files":' + b"9" * 10_000 + b"}",
    "another key": b'{"also":1,"files":{"trainer.py":""}}',
    "spaces": b'{"files": {"trainer.py":""}}',
    "a line feed behind it": b'{"files":{"trainer.py":""}}\n',
    "a file twice": b'{"files":{"trainer.py":"a","trainer.py":""}}',
    "another order": b'{"files":{"trainer.py":"","a.txt":""}}',
    "an escape where none is needed": b'{"files":{"trainer.py":"\\u0061"}}',
    "another encoding": '{"files":{"trainer.py":""}}'.encode("utf-16"),
    "no UTF-8": b'{"files":{"trainer.py":"\xff"}}',
    "a bomb": b'{"files":{"trainer.py":"' + b"a" * (3 * MAXIMUM_BYTES) + b'"}}',
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_refuses_whatever_is_not_its_own_spelling(content: bytes) -> None:
    with pytest.raises(DeniedError, match="the job's training code"):
        Code.from_bytes(content)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        code = Code.from_bytes(content)
    except DeniedError:
        return
    assert code.to_bytes() == content


# --- a folder


def test_reads_a_folder(tmp_path: Path) -> None:
    files = {"trainer.py": TRAINER, "loss/focal.py": "x = 'a'\n", "weights.json": '{"ä": 1}'}
    assert dict(read_code(folder_of(tmp_path / "c", {**files})).files) == files


def test_writes_a_folder_for_its_owner_alone(tmp_path: Path) -> None:
    written = Code({"trainer.py": TRAINER, "loss/focal.py": "x\n"})
    folder = written.write(tmp_path / "private" / "code")
    assert read_code(folder) == written
    modes = {path.relative_to(folder).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert modes == {"trainer.py": 0o600, "loss": 0o700, "loss/focal.py": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_writes_beside_nothing_that_is_there_already(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    with pytest.raises(FileExistsError):
        code().write(tmp_path / "code")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("weights.bin", b"\x00", "does not end in"),
        ("a.py", b"\xff", "not UTF-8"),
        (".secret.py", b"", "hidden"),
        (".git/config.txt", b"", "hidden"),
        ("__pycache__/trainer.pyc", b"", "__pycache__"),
        ("two words.py", b"", "no plain name"),
        ("large.txt", b"a" * (MAXIMUM_BYTES + 1), "more than 512 KiB"),
    ],
)
def test_refuses_a_folder_with(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    with pytest.raises(JobError, match=said):
        read_code(folder_of(tmp_path / "c", {"trainer.py": TRAINER, name: content}))


def test_refuses_links_pipes_and_files_that_cannot_be_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "c", {"trainer.py": TRAINER})
    for target in (tmp_path, folder / "trainer.py", Path("/etc/passwd")):
        (folder / "a.py").symlink_to(target)
        with pytest.raises(JobError, match="symbolic link"):
            read_code(folder)
        (folder / "a.py").unlink()
    os.mkfifo(folder / "a.py")
    with pytest.raises(JobError, match="not a plain file"):
        read_code(folder)
    (folder / "a.py").unlink()
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(JobError, match="no folder"):
        read_code(tmp_path / "link")


# --- the job's document


def job_with(code: object) -> Job:
    return parse(yaml.safe_dump(merged(default_job(), {"code": code})).encode(), Job, name="jobs/triage.yaml").value


def test_a_job_names_its_code(tmp_path: Path) -> None:
    folder_of(tmp_path / "code" / "focal-loss", {"trainer.py": TRAINER})
    assert code_of(tmp_path, job_with("code/focal-loss")) == code()


def test_a_job_without_code_brings_none(tmp_path: Path) -> None:
    assert code_of(tmp_path, job_with(None)) is None


def test_a_folder_that_is_missing_or_reached_over_a_link_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no folder"):
        code_of(tmp_path, job_with("code/focal-loss"))
    folder_of(tmp_path / "elsewhere" / "focal-loss", {"trainer.py": TRAINER})
    (tmp_path / "code").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JobError, match="symbolic link"):
        code_of(tmp_path, job_with("code/focal-loss"))


@pytest.mark.parametrize(
    "path",
    ["/code", "../code", "code/../..", "code/", "code//a", "./code", "", ".cloister/a", "code/a b", "c" * 300, 7],
)
def test_refuses_paths_that_are_not_plain(path: object) -> None:
    with pytest.raises(InvalidDocumentsError, match="`code`"):
        job_with(path)


@pytest.mark.parametrize("path", ["jobs", "jobs/code", "silos/x", "policies/x", "provisioning/x"])
def test_refuses_code_among_the_documents(path: str) -> None:
    with pytest.raises(InvalidDocumentsError, match="no code may lie"):
        job_with(path)
