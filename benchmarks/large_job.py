# SPDX-License-Identifier: Apache-2.0
"""What a round of a large model costs in time and memory, in Cloister and in NVFlare's FedAvg recipe for arrays.

Run it: .venv/bin/python benchmarks/large_job.py [--values 100] [--sites 2 8] [--rounds 5] [--folder FOLDER]

All federations are real: sites and a server as processes of this machine, over mutual TLS, one federation after the
other in one run. Training makes a new model of the one that came, each value a little larger, so that a round is what
is exchanged and nothing else. NVFlare runs with its defaults and at two sites only: eight of its job processes need
more than 24 GiB. Cloister's values travel as float32, as NVFlare's do, and once more as int4 with error feedback, both
ways. Each of its trainers runs in its sandbox.

Seconds of a round are those from the earliest start of training in one round to the earliest start in the next, less
the longest training; the first round is left out. Memory is the peak of a process (VmHWM in /proc), less that of the
same kind of process in a job with a model of a few thousand values that the same federation ran before: the server's
process of the job, its parent that all connections end at, a site's process of the job, a trainer; of the last two the
largest one. A model is four bytes for each value.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import psutil
from benchmarks.peers import nvflare_null
from nvflare.app_common.np.recipes.fedavg import NumpyFedAvgRecipe
from tests.federation_folder import PERSON, change_document, make_federation, merged, records_of, write_document
from tests.tabular_federation import DATASET, tabular_job, visits_dataset, visits_of, visits_policy, write_visits

from cloister.documents import load
from cloister.flare.processes import LocalFederation
from cloister.flare.session import connect
from cloister.jobs.code import read_code
from cloister.jobs.compression import CodecName
from cloister.repository import load_repository
from cloister.roster import Federation

NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
LAYERS = 8
TINY_WIDTH = 16
_POLL_SECONDS = 0.2
_LOOK_SECONDS = 0.1
_YOUNG_SECONDS = 10.0
_TRAINED = re.compile(r"trained (\d+) ([0-9.]+) ([0-9.]+)")

Spans = dict[int, list[tuple[float, float]]]
"""By round, start and end of each site's training, seconds since the epoch."""

TRAINER = '''
"""Adds one number to every value."""

import sys
import time

import numpy as np

from cloister.messages import Setup
from cloister.training.interface import Report, Round


class Trainer:
    def __init__(self, setup: Setup) -> None:
        self.blob, self.auc = b"", 0.5

    def load_adapter(self, blob: bytes) -> None:
        self.blob = blob

    def adapter(self) -> bytes:
        return self.blob

    def evaluate(self) -> dict[str, float]:
        self.auc = min(0.99, self.auc + 0.01)  # so that each round's weights are the best so far, and are kept
        return {"auc": self.auc}

    def train(self, number: int, report: Report) -> Round:
        start = time.time()
        self.blob = bytearray(self.blob)
        values = np.frombuffer(self.blob, np.float32, offset=8 + int.from_bytes(self.blob[:8], "little"))
        values += np.float32(1e-3)
        print("trained", number, start, time.time(), file=sys.stderr, flush=True)
        return Round(0.0, 40)
'''

CLIENT = """
import sys, time
import nvflare.client as flare
import numpy as np

flare.init()
while flare.is_running():
    received = flare.receive()
    if received is None:
        break
    start = time.time()
    values = received.params["numpy_key"]
    values = values + np.float32(1e-3)
    with open(f"{sys.argv[1]}/{flare.get_site_name()}", "a") as stream:
        stream.write(f"trained {received.current_round} {start} {time.time()}\\n")
    flare.send(flare.FLModel(params={"numpy_key": values}, meta={"NUM_STEPS_CURRENT_ROUND": 1}))
"""


@dataclass
class Peaks:
    """Peak memory of one federation's processes, by what they are; bytes.

    Attributes:
        kinds: by what they are, what their command line holds.
        root: the federation's folder, which is named in their command line, or in that of a process above them.
        found: by what they are, and process.
    """

    kinds: dict[str, str]
    root: Path
    found: dict[str, dict[psutil.Process, int]] = field(default_factory=dict)
    _known: dict[psutil.Process, str | None] = field(default_factory=dict)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look at all processes, again and again, while the body runs."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_LOOK_SECONDS):
                self._look()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def largest(self, kind: str) -> int:
        """Of the processes of one kind."""
        return max(self.found[kind].values())

    def _look(self) -> None:
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):
                if process not in self._known or time.time() - process.create_time() < _YOUNG_SECONDS:
                    self._known[process] = self._kind(process)  # a young one may yet become another program
                if kind := self._known[process]:
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    if peak := re.search(r"VmHWM:\s+(\d+) kB", status):
                        self.found.setdefault(kind, {})[process] = 1024 * int(peak[1])

    def _kind(self, process: psutil.Process) -> str | None:
        line = " ".join(process.cmdline())
        kind = next((kind for kind, words in self.kinds.items() if words in line), None)
        if kind is None or Path(process.exe()).name == "bwrap":
            return None
        above = (" ".join(each.cmdline()) for each in (process, *process.parents()))
        return kind if any(str(self.root) in each for each in above) else None


PEER = "NVFlare FedAvg, 2 sites"
OURS = {
    "server": "cloister.flare.server_process",
    "parent": "cloister.flare.start server",
    "site": "cloister.flare.site_process",
    "trainer": "cloister.training",
}
THEIRS = {
    "server": "app.server.runner_process",
    "parent": "app.server.server_train",
    "site": "app.client.worker_process",
}


@dataclass(frozen=True)
class Run:
    """One federation.

    Attributes:
        spans: of the large job's trainings.
        peaks: of the large job.
        before: of the small one.
    """

    spans: Spans
    peaks: Peaks
    before: Peaks

    @property
    def seconds(self) -> list[float]:
        """Of each round but the first, beyond training."""
        numbers = sorted(self.spans)
        return [
            min(start for start, _ in self.spans[after])
            - min(start for start, _ in self.spans[number])
            - max(end - start for start, end in self.spans[number])
            for number, after in itertools.pairwise(numbers[1:])
        ]

    def models(self, kind: str, size: int) -> float:
        """Peak memory beyond that of the small job, in models of ``size`` values."""
        return (self.peaks.largest(kind) - self.before.largest(kind)) / (4 * size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=float, default=100, help="of the model, millions; at most 117")
    parser.add_argument("--sites", type=int, nargs="+", default=[2, 8], choices=range(2, 9))
    parser.add_argument("--forms", nargs="+", default=["float32", "int4"], choices=get_args(CodecName))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="with room for four models for each site, and ten")
    parser.add_argument("--alone", action="store_true", help="without NVFlare")
    options = parser.parse_args()
    rounds, width = options.rounds, round(math.sqrt(options.values * 1e6 / (LAYERS - 1)))
    size = (LAYERS - 1) * width * width
    ways: dict[str, Callable[[Path], Run]] = {}
    if not options.alone:
        ways[PEER] = partial(plain_nvflare, rounds=rounds, sites=NAMES[:2], width=width)
    for form, count in itertools.product(options.forms, options.sites):
        ways[f"Cloister, {form}, {count} sites"] = partial(
            cloister, rounds=rounds, sites=NAMES[:count], width=width, form=form
        )
    print(f"{size / 1e6:.1f} M float32 values, {rounds} rounds; peaks in models of {4 * size / 1e6:.0f} MB", flush=True)
    print(f"{'':28}{'s/round':>9}{'least':>8}{'most':>8}" + "".join(f"{kind:>9}" for kind in OURS), flush=True)
    found: dict[str, Run] = {}
    for way, run in ways.items():
        with tempfile.TemporaryDirectory(prefix="large-job-", dir=options.folder, ignore_cleanup_errors=True) as name:
            found[way] = each = run(Path(name) / "federation")
        seconds, models = each.seconds, "".join(f"{each.models(kind, size):9.2f}" for kind in each.peaks.kinds)
        print(f"{way:28}{statistics.median(seconds):9.2f}{min(seconds):8.2f}{max(seconds):8.2f}{models}", flush=True)
    if not options.alone:
        theirs = found.pop(PEER)
        print("NVFlare at two sites, as a multiple of")
        for way, each in found.items():
            times = statistics.median(theirs.seconds) / statistics.median(each.seconds)
            peak = theirs.models("server", size) / each.models("server", size)
            print(f"  {way}: seconds per round {times:.1f}, server job's peak {peak:.1f}")


def spans_in(logs: Iterator[Path]) -> Spans:
    """What trainers wrote down."""
    spans: Spans = {}
    for log in logs:
        for number, start, end in _TRAINED.findall(log.read_text(errors="replace")):
            spans.setdefault(int(number), []).append((float(start), float(end)))
    return spans


def cloister(root: Path, *, rounds: int, sites: tuple[str, ...], width: int, form: CodecName) -> Run:
    """A small job and a large one, one after the other."""
    _write_federation(root, rounds, sites, width, form)
    program = str(Path(sys.executable).with_name("cloister"))

    def type_in(*command: str) -> None:
        subprocess.run([program, *command], cwd=root, check=True, stdout=subprocess.DEVNULL)

    type_in("provision")
    for site in sites:
        type_in("policy", "approve-code", "large", "--site", site, "--until", "2099-01-01", "--yes")
    for command in (["policy", "sign", "--untested"], ["up"]):
        type_in(*command)
    try:
        before, peaks = Peaks(OURS, root), Peaks(OURS, root)
        with before.watching():
            _run_ours(root, sites, "small")
        with peaks.watching():
            job_id = _run_ours(root, sites, "large")
    finally:
        type_in("down")
    return Run(spans_in(root.glob(f".cloister/sites/*/{job_id}/private/trainer.log")), peaks, before)


def _write_federation(root: Path, rounds: int, sites: tuple[str, ...], width: int, form: CodecName) -> None:
    policy: dict[str, Any] = {
        "training": {"maximum_rounds": 1000},
        "may_leave": {"maximum_bytes_per_round": 10**10, "maximum_bytes_per_job": 10**12, "maximum_norm": 1e6},
    }
    make_federation(root, sites={site: records_of(site) for site in sites}, policy=merged(visits_policy(), policy))
    for site in sites:
        capacity = {"memory_gib": 8, "round_seconds": 600}
        silo = {"datasets": {DATASET: visits_dataset(site)}, "capacity": capacity}
        change_document(root, f"silos/{site}.yaml", silo)
        write_visits(root / "records" / f"{site}-visits.csv", visits_of(site))
    for name, each in (("small", TINY_WIDTH), ("large", width)):
        federation = {"sites": list(sites), "rounds": rounds, "minimum_sites": len(sites)}
        job = {
            "job": name,
            "code": "code/add",
            "architecture": {"mlp": {"hidden": [each] * LAYERS}},
            "compression": {"up": form, "down": form},
            "federation": federation | {"round_deadline_seconds": 600},
        }
        write_document(root, f"jobs/{name}.yaml", merged(tabular_job(), job))
    (root / "code" / "add").mkdir(parents=True)
    (root / "code" / "add" / "trainer.py").write_text(TRAINER.lstrip())


def _run_ours(root: Path, sites: tuple[str, ...], job: str) -> str:
    document = load_repository(root).jobs[job]
    roster = load(root / "provisioning" / "federation.yaml", Federation).value
    with connect(LocalFederation(root, roster).state.person(PERSON), PERSON) as session:
        job_id = session.submit(document, list(sites), code=read_code(root / "code" / "add"))
        while not (view := session.job(job_id)).finished:
            time.sleep(_POLL_SECONDS)
    if not view.completed:
        raise SystemExit(f"Cloister's job ended with {view.status}")
    return str(job_id)


def plain_nvflare(root: Path, *, rounds: int, sites: tuple[str, ...], width: int) -> Run:
    """Likewise, provisioned and run as NVFlare's own documentation says."""
    here, out = Path.cwd(), root / "spans"
    out.mkdir(parents=True)
    kits = nvflare_null.provision(root, list(sites))
    processes = [nvflare_null.start(kits / "localhost", "server", "localhost")]
    processes += [nvflare_null.start(kits / site, "client", site) for site in sites]
    before, peaks = Peaks(THEIRS, root), Peaks(THEIRS, root)
    try:
        with before.watching():
            nvflare_null.run(kits, _recipe(root, rounds, sites, TINY_WIDTH), len(sites))
        shutil.rmtree(out)
        out.mkdir()
        with peaks.watching():
            nvflare_null.run(kits, _recipe(root, rounds, sites, width), len(sites))
    finally:
        os.chdir(here)
        for process in processes:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
    return Run(spans_in(out.iterdir()), peaks, before)


def _recipe(root: Path, rounds: int, sites: tuple[str, ...], width: int) -> Path:
    model, script = root / f"model-{width}.npy", root / "client.py"
    np.save(model, np.zeros((LAYERS - 1) * width * width, np.float32))
    script.write_text(CLIENT)
    recipe = NumpyFedAvgRecipe(
        name=f"plain-{width}",
        initial_ckpt=str(model),
        min_clients=len(sites),
        num_rounds=rounds,
        train_script=str(script),
        train_args=str(root / "spans"),
    )
    recipe.export(str(root / "job"))
    return root / "job" / f"plain-{width}"


if __name__ == "__main__":
    main()
