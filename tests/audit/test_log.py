# SPDX-License-Identifier: Apache-2.0
import errno
import fcntl
import os
import stat
import threading
import time
from datetime import timedelta

import pytest

from cloister.audit import FILE, Entry, Kind, Log, Notary, Unreadable, entries, every_line, lines, verify
from cloister.audit import log as log_module
from cloister.audit import reader as reader_module
from cloister.audit.event import FIRST, MAXIMUM_LINE_BYTES
from cloister.audit.verify import Fault
from cloister.errors import AuditError, ProvisioningError
from tests.audit.world import (
    CERTIFICATE,
    DIGEST,
    JOB,
    KEY,
    NOTARY,
    NOW,
    OTHER_KEY,
    SITE,
    certificate,
    log_in,
    write_some,
)


def kinds(folder):
    return [entry.event.kind for entry in entries(folder / FILE)]


def test_entries_follow_each_other(tmp_path):
    log = log_in(tmp_path / "audit")
    assert log.head() == FIRST
    first = log.append(Kind.START, {"version": "1"})
    second = log.append(Kind.RELEASE, {"digest": DIGEST}, job=JOB, number=3)
    assert (first.event.sequence, second.event.sequence, second.previous) == (1, 2, first.hash)
    assert (second.event.job, second.event.round) == (JOB, 3)
    assert log.head() == second.hash
    assert list(entries(log.path)) == [first, second]


def test_only_the_owner_may_read_it(tmp_path):
    log = log_in(tmp_path / "audit")
    log.append(Kind.START)
    assert stat.S_IMODE(log.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


def test_it_is_on_disk_before_append_returns(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    log = log_in(tmp_path)
    log.append(Kind.START)
    assert synced[-1] == log.path.stat().st_size > 0


def test_another_participants_log_takes_nothing(tmp_path):
    log_in(tmp_path).append(Kind.START)
    with pytest.raises(AuditError, match="`alpha`'s and not `beta`'s"):
        log_in(tmp_path, "beta").append(Kind.START)


def test_a_log_torn_at_any_byte_is_kept_and_noted(tmp_path):
    log = log_in(tmp_path, notary=None)
    write_some(log, 2)
    whole = log.path.read_bytes()
    begin = whole.rindex(b"\n", 0, -1) + 1
    for end in range(begin + 1, len(whole)):
        log.path.write_bytes(whole[:end])
        entry = log.append(Kind.STOP, {"reason": "test"})
        assert kinds(tmp_path) == [Kind.RELEASE, Kind.TORN, Kind.STOP]
        assert entry.event.sequence == 3
        note = list(entries(log.path))[1].event
        part = tmp_path / str(note.facts["files"][0])
        assert part.read_bytes() == whole[begin:end]
        assert stat.S_IMODE(part.stat().st_mode) == 0o600
        assert note.facts["bytes"] == (end - begin,)
        report = verify(lines(log.path), CERTIFICATE)
        assert (report.entries, report.broken and report.broken.fault) == (3, Fault.UNSIGNED)
        part.unlink()


def test_a_first_line_that_is_torn_is_kept_and_noted(tmp_path):
    (tmp_path / FILE).write_bytes(b'{"facts"')
    log_in(tmp_path, notary=None).append(Kind.START)
    assert kinds(tmp_path) == [Kind.TORN, Kind.START]
    assert (tmp_path / "torn-1.part").read_bytes() == b'{"facts"'


@pytest.mark.parametrize("name", ["ftruncate", "write"])
def test_a_writer_killed_while_it_mends_loses_nothing(tmp_path, monkeypatch, name):
    log = log_in(tmp_path, notary=None)
    log.append(Kind.START)
    with log.path.open("ab") as stream:
        stream.write(b'{"fac')

    class Killed(BaseException):
        pass

    def kill(*arguments):
        raise Killed

    monkeypatch.setattr(os, name, kill)
    with pytest.raises(Killed):
        log.append(Kind.STOP)
    monkeypatch.undo()
    assert (tmp_path / "torn-2.part").read_bytes() == b'{"fac'
    with log.path.open("ab") as stream:  # and the next one is killed while it writes
        stream.write(b"" if name == "ftruncate" else b'{"fa')
    log.append(Kind.STOP)
    assert kinds(tmp_path) == [Kind.START, Kind.TORN, Kind.STOP]
    note = list(entries(log.path))[1].event.facts
    assert len(note["files"]) == (1 if name == "ftruncate" else 2)
    assert sorted((tmp_path / part).read_bytes() for part in note["files"])[-1] == b'{"fac'


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole + b"{}\n",
        lambda whole: whole[:-3] + b"x}\n",
        lambda whole: whole + b"\n",
        lambda whole: whole + b"x" * (MAXIMUM_LINE_BYTES + 1),
        lambda whole: whole + b"x" * (3 * MAXIMUM_LINE_BYTES),
        lambda whole: whole + b"x" * (3 * MAXIMUM_LINE_BYTES) + b"\n",
    ],
)
def test_a_damaged_end_takes_nothing_more(tmp_path, damage):
    log = log_in(tmp_path)
    log.append(Kind.START)
    damaged = damage(log.path.read_bytes())
    log.path.write_bytes(damaged)
    with pytest.raises(AuditError, match="damaged at its end"):
        log.append(Kind.STOP)
    assert log.path.read_bytes() == damaged


def test_where_the_folder_cannot_be_made_nothing_is_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditError, match="cannot be written"):
        log_in(tmp_path / "file" / "audit").append(Kind.START)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into every folder")
def test_a_folder_that_may_not_be_written_denies(tmp_path):
    folder = tmp_path / "audit"
    folder.mkdir(mode=0o500)
    with pytest.raises(AuditError, match="permission denied"):
        log_in(folder).append(Kind.START)


@pytest.mark.parametrize("place", ["link", "folder", "pipe"])
def test_what_is_no_file_is_not_written(tmp_path, place):
    path = tmp_path / FILE
    if place == "link":
        (tmp_path / "elsewhere").write_text("")
        path.symlink_to(tmp_path / "elsewhere")
    elif place == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(AuditError):
        log_in(tmp_path).append(Kind.START)


@pytest.mark.parametrize("name", ["write", "fsync", "pread"])
def test_a_failing_disk_denies(tmp_path, monkeypatch, name):
    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    log = log_in(tmp_path)
    log.append(Kind.START)
    monkeypatch.setattr(os, name, fail)
    with pytest.raises(AuditError, match="input/output error"):
        log.append(Kind.STOP)


def test_a_full_disk_denies_and_the_piece_is_kept(tmp_path, monkeypatch):
    log = log_in(tmp_path, notary=None)
    log.append(Kind.START)
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:20]))
    with pytest.raises(AuditError, match="disk is full"):
        log.append(Kind.STOP)
    monkeypatch.undo()
    log.append(Kind.STOP)
    assert kinds(tmp_path) == [Kind.START, Kind.TORN, Kind.STOP]


def test_a_lock_that_nobody_gives_back_denies(tmp_path, monkeypatch):
    monkeypatch.setattr(log_module, "WAIT_SECONDS", 0.05)
    log = log_in(tmp_path)
    log.append(Kind.START)
    with log.path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(AuditError, match="another process holds it"):
            log.append(Kind.STOP)
    log.append(Kind.STOP)


def test_checkpoints_come_by_themselves_and_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(log_module, "CHECKPOINT_EVERY", 4)
    log = log_in(tmp_path)
    write_some(log, 5)
    assert kinds(tmp_path) == [Kind.RELEASE] * 4 + [Kind.CHECKPOINT, Kind.RELEASE]
    log.checkpoint()
    report = verify(lines(log.path), CERTIFICATE)
    assert (report.entries, report.covered, report.checkpoints, report.uncovered) == (7, 6, 2, 0)


def test_without_a_notary_nobody_signs(tmp_path):
    with pytest.raises(AuditError, match="nobody who signs"):
        log_in(tmp_path, notary=None).checkpoint()


def test_a_key_that_cannot_be_read_denies(tmp_path):
    def unreadable():
        raise ProvisioningError("the key can be read by others")

    log = Log(tmp_path, SITE, unreadable)
    with pytest.raises(AuditError, match="can be read by others"):
        log.checkpoint()
    log.append(Kind.START)


def test_the_key_is_read_once(tmp_path):
    asked = []

    def notary():
        asked.append(1)
        return NOTARY

    log = Log(tmp_path, SITE, notary)
    log.checkpoint()
    log.checkpoint()
    assert asked == [1]


class Renewing:
    """A notary whose certificate is valid for thirty days, and a clock."""

    def __init__(self, begin=NOW - timedelta(days=1), key=KEY):
        self.now, self.asked, self.notary = NOW, 0, Notary(key, certificate(KEY, begin=begin))

    def log(self, folder):
        def ask():
            self.asked += 1
            return self.notary

        return Log(folder, SITE, ask, lambda: self.now)


def test_no_checkpoint_is_signed_with_a_certificate_that_has_lapsed(tmp_path):
    renewing = Renewing()
    log = renewing.log(tmp_path)
    log.checkpoint()
    renewing.now = NOW + timedelta(days=40)
    note = log.checkpoint().event
    assert (note.kind, note.facts["point"]) == (Kind.FAILURE, "checkpoint")
    assert "not valid then" in note.facts["reason"]
    assert renewing.asked == 2
    assert kinds(tmp_path) == [Kind.CHECKPOINT, Kind.FAILURE]
    assert verify(lines(log.path), CERTIFICATE).broken is None
    renewing.notary = Notary(KEY, certificate(KEY, begin=NOW + timedelta(days=39)))
    assert log.checkpoint().event.kind is Kind.CHECKPOINT
    report = verify(lines(log.path), CERTIFICATE)
    assert (report.broken, report.checkpoints, report.covered) == (None, 2, 2)


@pytest.mark.parametrize(
    "renewing",
    [Renewing(begin=NOW + timedelta(days=1)), Renewing(key=OTHER_KEY)],
    ids=["a certificate of tomorrow", "the key of another certificate"],
)
def test_a_checkpoint_that_would_be_bad_is_said_and_not_written(tmp_path, monkeypatch, renewing):
    monkeypatch.setattr(log_module, "CHECKPOINT_EVERY", 2)
    log = renewing.log(tmp_path)
    write_some(log, 2)
    assert kinds(tmp_path) == [Kind.RELEASE, Kind.RELEASE, Kind.FAILURE]
    log_in(tmp_path).checkpoint()
    assert verify(lines(log.path), CERTIFICATE).broken is None


def test_the_first_line_s_file_and_folder_are_durable_before_it(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(log_module, "sync_folder", synced.append)
    log = log_in(tmp_path / "audit")
    log.folder.mkdir()
    log.path.touch()  # as somebody left it who was killed before he made its name durable
    log.append(Kind.START)
    assert synced == [log.folder, tmp_path]
    log.append(Kind.STOP)
    assert synced == [log.folder, tmp_path]


def test_a_file_that_was_exchanged_while_its_lock_was_awaited_is_not_written(tmp_path):
    log = log_in(tmp_path)
    log.append(Kind.START)
    refused = []

    def append():
        try:
            log.append(Kind.STOP)
        except AuditError as error:
            refused.append(error.message)

    with log.path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writer = threading.Thread(target=append)
        writer.start()
        time.sleep(0.1)
        content = log.path.read_bytes()
        log.path.unlink()
        log.path.write_bytes(content)
    writer.join(10)
    assert refused == ["the audit log was replaced by another file"]
    assert log.path.read_bytes() == content


def test_a_reader_does_not_wait_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(reader_module, "WAIT_SECONDS", 0.05)
    log = log_in(tmp_path)
    log.append(Kind.START)
    with log.path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(AuditError, match="another process holds it"):
            list(lines(log.path))


def test_what_cannot_be_read_is_counted_by_its_line(tmp_path):
    log = log_in(tmp_path)
    write_some(log, 3)
    whole = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(whole[0] + whole[1].replace(b"1002", b"1003") + whole[2])
    found = list(every_line(log.path))
    assert found[1] == Unreadable(2, "the line was edited: its hash is not the one of what it says")
    assert [type(each) for each in found] == [Entry, Unreadable, Entry]
    assert list(entries(log.path)) == [found[0], found[2]]
