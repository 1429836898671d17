# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import multiprocessing
import re
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloister.errors import DeniedError
from cloister.governance.replay import FILE, ReplayCache

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_a_submission_counts_once(tmp_path: Path) -> None:
    cache = ReplayCache(tmp_path)
    cache.claim("a" * 32, "job-1", NOW)
    for job_id in ("job-1", "job-2", None):
        with pytest.raises(DeniedError, match="this submission was used before"):
            cache.claim("a" * 32, job_id, NOW)
    cache.claim("b" * 32, "job-2", NOW)


def test_an_identifier_serves_one_job(tmp_path: Path) -> None:
    cache = ReplayCache(tmp_path)
    cache.claim("a" * 32, "job-1", NOW)
    with pytest.raises(DeniedError, match="the job's identifier was used before"):
        cache.claim("b" * 32, "job-1", NOW)
    cache.claim("b" * 32, "job-2", NOW)  # what was refused is not used up


def test_submissions_without_an_identifier_do_not_collide(tmp_path: Path) -> None:
    cache = ReplayCache(tmp_path)
    cache.claim("a" * 32, None, NOW)
    cache.claim("b" * 32, None, NOW)


def test_it_survives_a_restart_and_a_kill(tmp_path: Path) -> None:
    script = (
        "import os, sys; from datetime import UTC, datetime; from pathlib import Path\n"
        "from cloister.governance.replay import ReplayCache\n"
        "ReplayCache(Path(sys.argv[1])).claim('a' * 32, 'job-1', datetime.now(UTC)); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -9
    with pytest.raises(DeniedError, match="used before"):
        ReplayCache(tmp_path).claim("a" * 32, "job-2", NOW)


def _claim(folder: str, number: int, begin: object, won: object) -> None:
    begin.wait()  # type: ignore[attr-defined]
    try:
        ReplayCache(Path(folder)).claim("a" * 32, f"job-{number}", NOW)
    except DeniedError as error:
        won.put(str(error))  # type: ignore[attr-defined]
    else:
        won.put("")  # type: ignore[attr-defined]


def test_of_many_processes_at_once_one_gets_it(tmp_path: Path) -> None:
    """Each finds no file at first, so that making it is a race as well."""
    context = multiprocessing.get_context("fork")
    begin, answers = context.Barrier(6), context.Queue()
    processes = [context.Process(target=_claim, args=(str(tmp_path), number, begin, answers)) for number in range(6)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=30) for _ in processes]
    for process in processes:
        process.join()
    assert found.count("") == 1
    assert sum("this submission was used before" in answer for answer in found) == 5
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    ReplayCache(tmp_path / "workspace").claim("a" * 32, "job-1", NOW)
    assert stat.S_IMODE((tmp_path / "workspace" / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "workspace").stat().st_mode) == 0o700


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    cache = ReplayCache(tmp_path)
    cache.claim("a" * 32, "job-1", NOW)
    database = cache._opened()
    assert database.execute("PRAGMA synchronous").fetchone() == (3,)  # EXTRA: FULL, and the folder
    assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    database.close()


@pytest.mark.parametrize("content", [b"", b"x", b"SQLite format 3\x00", bytes(8192), b"not a database" * 1000])
def test_a_file_that_is_not_ours_denies(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    for _ in range(2):
        with pytest.raises(DeniedError, match=r"the replay cache `.*` cannot be read or written"):
            ReplayCache(tmp_path).claim("a" * 32, "job-1", NOW)


def test_another_database_denies_even_with_a_table_of_that_name(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("CREATE TABLE used (nonce TEXT, job_id TEXT, at TEXT)")
    with pytest.raises(DeniedError, match="cannot be read or written"):
        ReplayCache(tmp_path).claim("a" * 32, "job-1", NOW)


UNUSABLE = r"the replay cache `.*` cannot be read or written"


def filled(folder: Path, count: int = 200) -> tuple[ReplayCache, bytes]:
    """A cache in which submissions 0 to ``count`` were used, and its file."""
    cache = ReplayCache(folder)
    cache.claim(f"{0:032x}", "job-0", NOW)
    with contextlib.closing(sqlite3.connect(folder / FILE)) as database, database:
        rows = ((f"{number:032x}", f"job-{number}", NOW.isoformat()) for number in range(1, count))
        database.executemany("INSERT INTO used VALUES (?, ?, ?)", rows)
    return cache, (folder / FILE).read_bytes()


def test_a_damaged_file_is_found_at_the_start_or_remembers_everything(tmp_path: Path) -> None:
    cache, sound = filled(tmp_path)
    cache.check()
    found = 0
    for begin in range(0, len(sound), 512):
        damaged = sound[:begin] + bytes(512) + sound[begin + 512 :]
        (tmp_path / FILE).write_bytes(damaged)
        try:
            cache.check()
        except DeniedError as error:
            assert re.match(UNUSABLE, str(error))
            found += 1
            continue
        for number in range(200):
            with pytest.raises(DeniedError, match="this submission was used before"):
                cache.claim(f"{number:032x}", f"job-new-{number}", NOW)
    assert found > len(sound) // 512 // 2, "most of it holds something"
    (tmp_path / FILE).write_bytes(sound[: len(sound) // 2])
    for ask in (cache.check, lambda: cache.claim("f" * 32, "job-new", NOW)):
        with pytest.raises(DeniedError, match=UNUSABLE):
            ask()


def test_an_index_that_forgot_a_submission_is_found_at_the_start(tmp_path: Path) -> None:
    """The file is a sound tree of pages, and the index by which a claim looks lacks an entry."""
    cache, sound = filled(tmp_path, 3)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        (name,) = database.execute("SELECT name FROM sqlite_master WHERE type = 'index' LIMIT 1").fetchone()
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    size = int.from_bytes(sound[16:18], "big")
    number = (page - 1) * size + 3  # how many cells the page has (https://www.sqlite.org/fileformat.html#b_tree_pages)
    assert sound[number : number + 2] == b"\x00\x03"
    (tmp_path / FILE).write_bytes(sound[:number] + b"\x00\x02" + sound[number + 2 :])
    with pytest.raises(DeniedError, match=UNUSABLE):
        cache.check()


def test_a_claim_reads_only_the_pages_on_its_way(tmp_path: Path) -> None:
    """However many submissions there were; that there is no damage elsewhere is looked at as the process starts."""
    cache, sound = filled(tmp_path, 5000)
    size = int.from_bytes(sound[16:18], "big")
    middle = (sound.index(b"job-2500" + NOW.isoformat().encode()) // size) * size  # a leaf of the table
    (tmp_path / FILE).write_bytes(sound[:middle] + bytes(size) + sound[middle + size :])
    with pytest.raises(DeniedError, match=UNUSABLE):
        cache.check()
    cache.claim("f" * 32, "job-new", NOW)
    with pytest.raises(DeniedError, match="this submission was used before"):
        cache.claim(f"{4999:032x}", "job-newer", NOW)


@pytest.mark.parametrize("content", [b"", b"x", bytes(8192), b"not a database" * 1000])
def test_a_file_that_is_not_ours_is_found_at_the_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(DeniedError, match=UNUSABLE):
        ReplayCache(tmp_path).check()


def test_a_cache_that_is_not_there_yet_is_in_order_and_not_made(tmp_path: Path) -> None:
    ReplayCache(tmp_path).check()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_or_a_dangling_link_in_its_place_denies(tmp_path: Path) -> None:
    (tmp_path / "a" / FILE).mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / FILE).symlink_to(tmp_path / "nowhere")
    for name in ("a", "b"):
        with pytest.raises(DeniedError, match="cannot be read or written"):
            ReplayCache(tmp_path / name).claim("a" * 32, "job-1", NOW)


def test_a_table_that_was_dropped_denies(tmp_path: Path) -> None:
    cache = ReplayCache(tmp_path)
    cache.claim("a" * 32, "job-1", NOW)
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("DROP TABLE used")
    with pytest.raises(DeniedError, match="cannot be read or written"):
        cache.claim("a" * 32, "job-2", NOW)


def test_a_cache_that_another_holds_denies_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloister.governance.replay._WAIT_SECONDS", 0.05)
    cache = ReplayCache(tmp_path)
    cache.claim("a" * 32, "job-1", NOW)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DeniedError, match="cannot be read or written"):
        cache.claim("b" * 32, "job-2", NOW)
    other.close()
