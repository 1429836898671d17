# SPDX-License-Identifier: Apache-2.0
"""What a round and a job cost beyond training: a null job on NVFlare, on Flower and on Cloister, in turn in one run.

Run it: .venv/bin/python benchmarks/round_overhead.py [--repeat 5] [--rounds 5] [--sites 2] [--results FILE]

Every site adds one to ten numbers and sends them back. All federations are real and anew for each job: a server and
sites as processes of this machine, over TLS with keys of their own at each site. NVFlare is run with its defaults, and
once more with its sites told to ask for tasks every twenty milliseconds; Flower as SuperLink and SuperNodes, with its
defaults; Cloister with everything on, the sandbox included. The peers run in environments of their own: `make peers`.

A round lasts from the earliest start of training in it to the earliest start in the next; nothing is taken off. The
first is left out. A job lasts from its submission until it is known to have finished, which is asked every 0.2 s.
Ratios are of what was measured in one turn. With `--results` the turns are added to those that the file has.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.page.results import add_turns
from benchmarks.page.round_table import CLOISTER, FLOWER, NVFLARE, TUNED, round_table
from benchmarks.peers.cloister_null import cloister_null
from benchmarks.peers.environments import python_of, told_by
from benchmarks.peers.run import Run

SITES = ("alpha", "beta", "gamma")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sites", type=int, choices=(2, 3), default=2)
    parser.add_argument("--results", type=Path, help="JSON file to add the turns to")
    options = parser.parse_args()
    if options.rounds < 3:
        parser.error("at least three rounds, of which the first is left out and the last has none after it")
    rounds, sites = options.rounds, SITES[: options.sites]
    asked = (str(rounds), str(len(sites)))
    ways: dict[str, Callable[[Path], Run]] = {
        NVFLARE: lambda root: Run.of(told_by("nvflare", "nvflare_null.py", str(root), *asked)),
        TUNED: lambda root: Run.of(told_by("nvflare", "nvflare_null.py", str(root), *asked, "--tuned")),
        FLOWER: lambda root: Run.of(told_by("flower", "flower_null.py", str(root), *asked)),
        CLOISTER: lambda root: cloister_null(root, rounds, sites),
    }
    python_of("nvflare"), python_of("flower")
    turns: list[dict[str, Any]] = []
    for number in range(1, options.repeat + 1):
        turns.append({"load": round(os.getloadavg()[0], 1), "ways": {}})
        for way, measure in ways.items():
            with tempfile.TemporaryDirectory(prefix="null-job-") as name:
                run = measure(Path(name) / "federation")
            turns[-1]["ways"][way] = run.told()
            shown = " ".join(f"{seconds:.3f}" for seconds in run.rounds)
            said = f"{run.seconds:.1f} s, first training after {run.before:.1f} s, end {run.after:.1f} s after the last"
            print(f"turn {number}, {way}: rounds {shown}; job {said}", flush=True)
        if options.results:
            add_turns(options.results, {"rounds": rounds, "sites": len(sites)}, turns[-1:])
    print(f"\n{rounds} rounds, {len(sites)} sites, {options.repeat} turns\n")
    print(round_table(turns))


if __name__ == "__main__":
    main()
