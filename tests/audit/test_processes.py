# SPDX-License-Identifier: Apache-2.0
"""Real processes that write into one log, and are killed."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cloister.audit import Kind, entries, lines, verify
from tests.audit.world import CERTIFICATE, log_in

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
