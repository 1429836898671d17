# SPDX-License-Identifier: Apache-2.0
"""What many simulated sites take: seconds per round, and memory of all processes together.

Run it: .venv/bin/python benchmarks/simulation.py [--sites 20 200] [--rounds 2] [--workers 2] [--records 600]

`cloister simulate` with copies of three sites, each of which has so many invented notes: the base model
all-MiniLM-L6-v2 with low-rank adaptation, two steps of four records at each site in each round, trainers in the
sandbox; classes dealt out by Dirichlet(1). Memory is that of the command and everything below it, each shared page
counted once (PSS), looked at every half second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.federation_folder import JOB, SITES, make_federation, records_of

CLOISTER = Path(sys.executable).with_name("cloister")
_LOOK_SECONDS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--records", type=int, default=600)
    given = parser.parse_args()
    print("| sites | seconds in all | seconds per round | of these for a site | processes | peak memory, GiB |")
    print("|---|---|---|---|---|---|", flush=True)
    for sites in given.sites:
        with tempfile.TemporaryDirectory() as folder:
            root = make_federation(
                Path(folder) / "federation",
                sites={site: notes(site, given.records) for site in SITES},
                job={"federation": {"rounds": given.rounds}},
            )
            print(row(root, sites, given.workers), flush=True)


def notes(site: str, count: int) -> list[tuple[str, str]]:
    """So many notes, no two alike."""
    known = records_of(site)
    return [(f"{known[i % len(known)][0]}, day {i // len(known)}", known[i % len(known)][1]) for i in range(count)]


def row(root: Path, sites: int, workers: int) -> str:
    """One line of the table."""
    argv = [str(CLOISTER), "simulate", JOB, "--sites", str(sites), "--skew", "1", "--workers", str(workers), "--json"]
    begun = time.monotonic()
    said = root / "said.json"
    with said.open("wb") as stream, (root / "words.txt").open("wb") as words:
        process = subprocess.Popen(argv, cwd=root, stdout=stream, stderr=words)
        bytes_, processes = 0, 0
        while process.poll() is None:
            now, count = memory_of(process.pid)
            bytes_, processes = max(bytes_, now), max(processes, count)
            time.sleep(_LOOK_SECONDS)
    if process.returncode:
        sys.exit((root / "words.txt").read_text())
    whole = time.monotonic() - begun
    result: dict[str, Any] = json.loads(said.read_text())["result"]
    seconds = statistics.median(entry["seconds"] for entry in result["history"])
    took_part = min(len(entry["sites"]) for entry in result["history"])
    if took_part < sites:
        print(f"only {took_part} sites took part", file=sys.stderr)
    return f"| {sites} | {whole:.0f} | {seconds:.1f} | {seconds / sites:.3f} | {processes} | {bytes_ / 2**30:.2f} |"


def memory_of(pid: int) -> tuple[int, int]:
    """PSS of a process and everything below it, bytes, and how many of them have any."""
    total, count = 0, 0
    with contextlib.suppress(psutil.Error):
        top = psutil.Process(pid)
        for each in [top, *top.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += each.memory_full_info().pss
                count += 1
    return total, count


if __name__ == "__main__":
    main()
