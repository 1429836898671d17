# SPDX-License-Identifier: Apache-2.0
"""Real processes that write into one log, and are killed."""

import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from cloister.audit import Kind, LastCheckpoint, entries, lines, verify, verify_own
from cloister.audit.verify import Fault
from tests.audit.world import CERTIFICATE, Key, certificate, log_in

WRITER = """
import sys
from pathlib import Path
from cloister.audit import Kind, Log
log = Log(Path(sys.argv[1]), "alpha")
count = 0
while True:
    entry = log.append(Kind.FAILURE, {"point": sys.argv[2], "reason": "x" * 1500})
    print(entry.event.sequence, entry.hash, flush=True)
    count += 1
    if count == int(sys.argv[3]):
        break
"""


SIGNER = """
import sys
from pathlib import Path
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cloister.audit import Kind, LastCheckpoint, Log, Notary
from cloister.envelope import sign_with
class Key:
    def __init__(self, path):
        self.private = serialization.load_pem_private_key(path.read_bytes(), None)
    def sign(self, message):
        return sign_with(self.private, message)
given = Path(sys.argv[2])
notary = Notary(Key(given / "key"), x509.load_pem_x509_certificate((given / "crt").read_bytes()))
log = Log(Path(sys.argv[1]), "alpha", lambda: notary)
if sys.argv[3] == "slow":  # the moment between log and memory, made long enough to be killed in
    import time
    write = LastCheckpoint.write
    def late(self, folder):
        if self.sequence:
            print("between", flush=True)
            time.sleep(60)
        write(self, folder)
    LastCheckpoint.write = late
while True:
    log.append(Kind.FAILURE, {"point": "test", "reason": "x" * 200})
    print(log.checkpoint().event.sequence, flush=True)
"""


def signer(folder: Path, given: Path, pace: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SIGNER, str(folder), str(given), pace]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def given(tmp_path) -> tuple[Path, x509.Certificate]:
    """A key and a certificate that counts by the real clock, as files."""
    folder, key = tmp_path / "given", Key()
    folder.mkdir()
    own = certificate(key, begin=datetime.now(UTC) - timedelta(days=1))
    (folder / "crt").write_bytes(own.public_bytes(serialization.Encoding.PEM))
    pem = serialization.PrivateFormat.PKCS8
    (folder / "key").write_bytes(
        key.private.private_bytes(serialization.Encoding.PEM, pem, serialization.NoEncryption())
    )
    return folder, own


def test_killed_between_log_and_memory_the_log_goes_on(tmp_path, given):
    folder, own = given
    audit = tmp_path / "audit"
    for expected in (2, 4, 6):
        with signer(audit, folder, "slow") as process:
            assert process.stdout.readline() == "between\n"
            process.kill()
        assert len((audit / "log.jsonl").read_bytes().splitlines()) == expected
        assert LastCheckpoint.read(audit) == LastCheckpoint()
        assert verify_own(audit, own, [own], "alpha").broken is None
    with signer(audit, folder, "fast") as process:
        assert process.stdout.readline() == "8\n"
        process.kill()
    assert LastCheckpoint.read(audit).sequence >= 8


@pytest.mark.slow
def test_killed_at_random_moments_the_memory_is_never_newer_than_the_log(tmp_path, given):
    folder, own = given
    audit, draw, told = tmp_path / "audit", random.Random(11), 0
    for _ in range(10):
        with signer(audit, folder, "fast") as process:
            process.stdout.readline()
            time.sleep(draw.random() * 0.1)
            process.kill()
            rest = process.stdout.read()
        told = max([told, *(int(line) for line in rest.split("\n")[:-1])])
        memory = LastCheckpoint.read(audit)
        assert memory.sequence >= told  # what was told was remembered
        broken = verify_own(audit, own, [own], "alpha").broken
        assert broken is None or broken.fault is Fault.TORN
    assert told > 20


def writer(folder: Path, name: str, count: int = -1) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_at_random_moments_nothing_that_was_told_is_lost(tmp_path):
    told: dict[int, str] = {}
    draw = random.Random(7)
    for round_ in range(12):
        processes = [writer(tmp_path, f"writer-{number}") for number in range(2)]
        first = [process.stdout.readline() for process in processes]
        time.sleep(draw.random() * 0.2)
        for process in processes:
            process.send_signal(signal.SIGKILL)
        for process, line in zip(processes, first, strict=True):
            rest = process.communicate()[0]
            # The pipe may end in the middle of a line as well.
            for each in (line + rest).splitlines(keepends=True):
                if each.endswith("\n"):
                    sequence, digest = each.split()
                    told[int(sequence)] = digest
        if round_ % 3 == 0:  # a kill within write(2) is rare, so what it would leave is left on purpose
            with (tmp_path / "log.jsonl").open("ab") as stream:
                stream.write(b'{"facts":{"point"')
    log_in(tmp_path).checkpoint()
    report = verify(lines(tmp_path / "log.jsonl"), CERTIFICATE)
    assert report.broken is None
    found = {entry.event.sequence: entry for entry in entries(tmp_path / "log.jsonl")}
    assert len(told) > 50
    assert {number: found[number].hash for number in told} == told
    torn = [entry.event for entry in found.values() if entry.event.kind is Kind.TORN]
    noted = {str(name) for event in torn for name in event.facts["files"]}
    assert noted == {path.name for path in tmp_path.glob("torn-*.part")}
    assert len(noted) >= 4


def test_two_processes_write_at_once(tmp_path):
    processes = [writer(tmp_path, f"writer-{number}", 40) for number in range(2)]
    assert [process.communicate()[0].count("\n") for process in processes] == [40, 40]
    assert [process.returncode for process in processes] == [0, 0]
    assert verify(lines(tmp_path / "log.jsonl"), CERTIFICATE).entries == 80
    points = [entry.event.facts["point"] for entry in entries(tmp_path / "log.jsonl")]
    assert (points.count("writer-0"), points.count("writer-1")) == (40, 40)
