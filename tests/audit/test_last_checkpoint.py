# SPDX-License-Identifier: Apache-2.0
"""The memory of the last checkpoint, and the writer that refuses a log which contradicts it."""

import json
import os
import shutil
import stat

import pytest

from cloister.audit import FILE, Kind, LastCheckpoint, Log, entries, lines, verify
from cloister.audit import log as log_module
from cloister.audit.event import FIRST
from cloister.audit.last_checkpoint import path_of
from cloister.audit.own_log import verify_own
from cloister.audit.verify import Fault
from cloister.errors import AuditError
from tests.audit.world import CERTIFICATE, SITE, log_in, write_some


@pytest.fixture
def log(tmp_path) -> Log:
    """Two checkpoints, at 3 and 6, and an entry after the last."""
    log = log_in(tmp_path / "audit")
    for _ in range(2):
        write_some(log, 2)
        log.checkpoint()
    write_some(log, 1)
    return log


def lines_of(log: Log) -> list[bytes]:
    return log.path.read_bytes().splitlines(keepends=True)


def fault(log: Log) -> Fault | None:
    broken = verify_own(log.folder, CERTIFICATE, [CERTIFICATE], SITE).broken
    return broken.fault if broken else None


def test_the_last_checkpoint_is_remembered_beside_the_log_s_folder(log, tmp_path):
    path = tmp_path / "audit-checkpoint.json"
    assert path == path_of(log.folder)
    last = list(entries(log.path))[5]
    end = sum(map(len, lines_of(log)[:6]))
    assert json.loads(path.read_bytes()) == {"sequence": 6, "hash": last.hash, "end": end}
    assert LastCheckpoint.read(log.folder) == LastCheckpoint(6, last.hash, end)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_begun_before_the_first_line(tmp_path, monkeypatch):
    log = log_in(tmp_path / "audit")
    monkeypatch.setattr(log_module.Log, "_write", lambda *_arguments: pytest.fail("a line came first"))
    monkeypatch.setattr(LastCheckpoint, "write", lambda *_arguments: (_ for _ in ()).throw(OSError(28, "no space")))
    with pytest.raises(AuditError, match="no space"):
        log.append(Kind.START)
    monkeypatch.undo()
    log.append(Kind.START)
    assert LastCheckpoint.read(log.folder) == LastCheckpoint(0, FIRST, 0)


ACTS = {
    "the file is removed": (lambda log: log.path.unlink(), Fault.MISSING),
    "the folder is removed": (lambda log: shutil.rmtree(log.folder), Fault.MISSING),
    "it is emptied": (lambda log: log.path.write_bytes(b""), Fault.CUT),
    "it is cut before the last checkpoint": (lambda log: log.path.write_bytes(b"".join(lines_of(log)[:5])), Fault.CUT),
    "it is an older copy": (lambda log: log.path.write_bytes(b"".join(lines_of(log)[:3])), Fault.CUT),
    "the last checkpoint is torn": (
        lambda log: os.truncate(log.path, len(b"".join(lines_of(log)[:6])) - 9),
        Fault.TORN,
    ),
    "the memory is removed": (lambda log: path_of(log.folder).unlink(), Fault.FORGOTTEN),
    "the memory is damaged": (lambda log: path_of(log.folder).write_bytes(b"{"), Fault.FORGOTTEN),
    "the memory is no memory": (lambda log: path_of(log.folder).write_bytes(b"[]"), Fault.FORGOTTEN),
    "the memory has another key": (lambda log: path_of(log.folder).write_bytes(b'{"a":1}'), Fault.FORGOTTEN),
    "the memory has another type": (
        lambda log: path_of(log.folder).write_bytes(b'{"sequence":"6","hash":"","end":1}'),
        Fault.FORGOTTEN,
    ),
}


@pytest.mark.parametrize(("act", "expected"), ACTS.values(), ids=ACTS)
def test_what_contradicts_the_memory_takes_nothing_more_and_shows(log, act, expected):
    act(log)
    before = log.path.read_bytes() if log.path.exists() else b""
    assert fault(log) is expected
    for write in (lambda: log.append(Kind.START), log.checkpoint, log.head):
        with pytest.raises(AuditError) as caught:
            write()
        assert "cloister audit verify" in caught.value.hint
        assert expected is Fault.FORGOTTEN or "was cut off or removed" in caught.value.message
    assert log.path.read_bytes() == before
    assert not list(log.folder.glob("torn-*"))


def test_a_log_of_the_same_length_or_longer_that_is_another_takes_nothing(log, tmp_path):
    other = log_in(tmp_path / "other")
    write_some(other, 5)
    other.checkpoint()
    write_some(other, 9)
    log.path.write_bytes(other.path.read_bytes())
    assert verify(lines(log.path), CERTIFICATE).broken is None
    assert fault(log) is Fault.REPLACED
    with pytest.raises(AuditError, match="replaced by another: it does not hold entry 6"):
        log.append(Kind.START)


def test_a_cut_after_the_last_checkpoint_is_what_nobody_vouches_for(log):
    log.path.write_bytes(b"".join(lines_of(log)[:6]))
    assert fault(log) is None
    log.append(Kind.STOP)


@pytest.mark.parametrize("moment", ["before the log", "before the memory"])
def test_a_crash_around_a_checkpoint_leaves_a_log_that_goes_on(log, monkeypatch, moment):
    class Killed(BaseException):
        pass

    def kill(*_arguments):
        raise Killed

    if moment == "before the log":
        monkeypatch.setattr(log_module.os, "write", kill)
    else:
        monkeypatch.setattr(LastCheckpoint, "write", kill)
    with pytest.raises(Killed):
        log.checkpoint()
    monkeypatch.undo()
    memory = LastCheckpoint.read(log.folder)
    assert memory
    assert memory.sequence == 6
    assert len(lines_of(log)) == (7 if moment == "before the log" else 8)
    assert fault(log) is None
    log.checkpoint()
    assert fault(log) is None


def test_nothing_is_remembered_that_is_not_on_the_disk(log, monkeypatch):
    """The memory is written after the checkpoint's own fsync, so it is never the newer of the two."""
    order = []
    fsync, write = os.fsync, LastCheckpoint.write
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append(os.fstat(descriptor).st_size), fsync(descriptor)))
    monkeypatch.setattr(LastCheckpoint, "write", lambda *arguments: (order.append("memory"), write(*arguments)))
    log.checkpoint()
    assert order.index("memory") == order.index(log.path.stat().st_size) + 1


def test_where_the_memory_cannot_be_written_the_checkpoint_fails_and_the_log_is_good(log, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LastCheckpoint, "write", full)
    with pytest.raises(AuditError, match="no space left"):
        log.checkpoint()
    monkeypatch.undo()
    assert fault(log) is None
    log.append(Kind.STOP)


def test_a_log_and_a_memory_that_go_together_begin_anew(log):
    shutil.rmtree(log.folder)
    path_of(log.folder).unlink()
    log.append(Kind.START)
    log.checkpoint()
    assert fault(log) is None
    assert (log.folder / FILE).exists()
