# SPDX-License-Identifier: Apache-2.0
"""What a round of a large model costs in time and memory, in Cloister and in NVFlare's FedAvg recipe for arrays.

Run it: .venv/bin/python benchmarks/large_job.py [--values 100] [--sites 2 8] [--rounds 5] [--folder FOLDER]

All federations are real: sites and a server as processes of this machine, over mutual TLS, one federation after the
other in one run. Training is adding one number to every value, so that a round is what is exchanged and nothing else.
NVFlare runs with its defaults and at two sites only: eight of its job processes need more than 24 GiB. Cloister's
values travel as float32, as NVFlare's do, and each of its trainers runs in its sandbox.

Seconds of a round are those from the earliest start of training in one round to the earliest start in the next, less
the longest training; the first round is left out. Memory is the peak of a process (VmHWM in /proc), less that of the
same kind of process in a job with a model of a few thousand values that the same federation ran before; of sites and
trainers the largest one counts. A model is four bytes for each value.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import psutil
from nvflare.app_common.np.recipes.fedavg import NumpyFedAvgRecipe
from nvflare.fuel.flare_api.flare_api import new_secure_session
from tests.federation_folder import PERSON, change_document, make_federation, merged, records_of, write_document
from tests.tabular_federation import DATASET, tabular_job, visits_dataset, visits_of, visits_policy, write_visits

from cloister.documents import load
from cloister.flare.processes import LocalFederation
from cloister.flare.session import connect
from cloister.jobs.code import read_code
from cloister.repository import load_repository
from cloister.roster import Federation

NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
LAYERS = 8
TINY_WIDTH = 16
_POLL_SECONDS = 0.2
_LOOK_SECONDS = 0.1
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
        self.blob = bytearray()

    def load_adapter(self, blob: bytes) -> None:
        self.blob = bytearray(blob)

    def adapter(self) -> bytes:
        return self.blob

    def evaluate(self) -> dict[str, float]:
        return {"auc": 0.5}

    def train(self, number: int, report: Report) -> Round:
        start = time.time()
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
        print("trained", received.current_round, start, time.time(), file=stream)
    flare.send(flare.FLModel(params={"numpy_key": values}, meta={"NUM_STEPS_CURRENT_ROUND": 1}))
"""


@dataclass
class Peaks:
    """Peak memory of processes by what they are: `server`, `site`, `trainer`; bytes.

    Attributes:
        kinds: by what they are, what their command line holds.
        found: by what they are, and process id.
    """

    kinds: dict[str, str]
    found: dict[str, dict[int, int]] = field(default_factory=dict)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look at all processes below this one while the body runs."""
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

    def largest(self, kind: str) -> float:
        """Of the processes of one kind."""
        return float(max(self.found.get(kind, {0: 0}).values()))

    def _look(self) -> None:
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, psutil.Error):
                line = (folder / "cmdline").read_bytes().decode(errors="replace")
                kind = next((kind for kind, words in self.kinds.items() if words in line), None)
                if kind is not None and "bwrap" not in line.split("\0")[0]:
                    status = (folder / "status").read_text()
                    if found := re.search(r"VmHWM:\s+(\d+) kB", status):
                        self.found.setdefault(kind, {})[int(folder.name)] = 1024 * int(found[1])


OURS = {
    "server": "cloister.flare.server_process",
    "site": "cloister.flare.site_process",
    "trainer": "cloister.training",
}
THEIRS = {"server": "app.server.runner_process", "site": "app.client.worker_process"}


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
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where there is room: a dozen models for each site")
    parser.add_argument("--alone", action="store_true", help="without NVFlare")
    options = parser.parse_args()
    width = round(math.sqrt(options.values * 1e6 / (LAYERS - 1)))
    ways: dict[str, Callable[[Path], Run]] = {}
    if not options.alone:
        ways["NVFlare FedAvg, 2 sites"] = lambda root: plain_nvflare(root, options.rounds, NAMES[:2], width)
    for count in options.sites:
        names = NAMES[:count]
        ways[f"Cloister, {count} sites"] = lambda root, names=names: cloister(root, options.rounds, names, width)  # type: ignore[misc]
    size = (LAYERS - 1) * width * width
    print(f"{size / 1e6:.1f} M float32 values, {options.rounds} rounds", flush=True)
    print(
        f"{'':26}{'s/round':>9}{'least':>8}{'most':>8}{'server':>9}{'site':>7}{'trainer':>9}   peaks in models",
        flush=True,
    )
    found: dict[str, Run] = {}
    for way, run in ways.items():
        with tempfile.TemporaryDirectory(prefix="large-job-", dir=options.folder) as name:
            found[way] = each = run(Path(name) / "federation")
        models = [each.models(kind, size) for kind in OURS]
        seconds = each.seconds
        print(
            f"{way:26}{statistics.median(seconds):9.2f}{min(seconds):8.2f}{max(seconds):8.2f}"
            f"{models[0]:9.2f}{models[1]:7.2f}{models[2] if each.peaks.kinds is OURS else math.nan:9.2f}",
            flush=True,
        )
    if not options.alone:
        theirs = found.pop("NVFlare FedAvg, 2 sites")
        for way, each in found.items():
            times = statistics.median(theirs.seconds) / statistics.median(each.seconds)
            print(f"{way}: rounds of NVFlare at 2 sites take {times:.1f} times as long, and its server job's peak")
            print(f"  is {theirs.models('server', size) / each.models('server', size):.1f} times as large")


def spans_in(logs: Iterator[Path]) -> Spans:
    """What trainers wrote down."""
    spans: Spans = {}
    for log in logs:
        for number, start, end in _TRAINED.findall(log.read_text(errors="replace")):
            spans.setdefault(int(number), []).append((float(start), float(end)))
    return spans


def cloister(root: Path, rounds: int, sites: tuple[str, ...], width: int) -> Run:
    """A small job and a large one, one after the other."""
    _write_federation(root, rounds, sites, width)
    program = str(Path(sys.executable).with_name("cloister"))

    def type_in(*command: str) -> None:
        subprocess.run([program, *command], cwd=root, check=True, stdout=subprocess.DEVNULL)

    type_in("provision")
    for site in sites:
        type_in("policy", "approve-code", "large", "--site", site, "--until", "2099-01-01", "--yes")
    for command in (["policy", "sign", "--untested"], ["up"]):
        type_in(*command)
    try:
        before, peaks = Peaks(OURS), Peaks(OURS)
        with before.watching():
            _run_ours(root, sites, "small")
        with peaks.watching():
            job_id = _run_ours(root, sites, "large")
    finally:
        type_in("down")
    return Run(spans_in(root.glob(f".cloister/sites/*/{job_id}/private/trainer.log")), peaks, before)


def _write_federation(root: Path, rounds: int, sites: tuple[str, ...], width: int) -> None:
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


def plain_nvflare(root: Path, rounds: int, sites: tuple[str, ...], width: int) -> Run:
    """Likewise, provisioned and run as NVFlare's own documentation says."""
    out = root / "spans"
    out.mkdir(parents=True)
    kits = _provision(root, sites)
    processes = [_start(kits / "localhost", "server", "localhost")]
    processes += [_start(kits / site, "client", site) for site in sites]
    before, peaks = Peaks(THEIRS), Peaks(THEIRS)
    try:
        with before.watching():
            _run_theirs(root, kits, rounds, sites, TINY_WIDTH)
        shutil.rmtree(out)
        out.mkdir()
        with peaks.watching():
            _run_theirs(root, kits, rounds, sites, width)
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
    return Run(spans_in(out.iterdir()), peaks, before)


def _provision(root: Path, sites: tuple[str, ...]) -> Path:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    participants = [{"name": "localhost", "type": "server", "org": "x", "fed_learn_port": port}]
    participants += [{"name": site, "type": "client", "org": "x"} for site in sites]
    participants += [{"name": "lead@x.org", "type": "admin", "org": "x", "role": "lead"}]
    builders = "workspace.WorkspaceBuilder static_file.StaticFileBuilder cert.CertBuilder signature.SignatureBuilder"
    project = {
        "api_version": 3,
        "name": "plain",
        "participants": participants,
        "builders": [
            {"path": f"nvflare.lighter.impl.{name}"}
            | ({"args": {"config_folder": "config", "scheme": "grpc"}} if "StaticFile" in name else {})
            for name in builders.split()
        ],
    }
    (root / "project.yml").write_text(json.dumps(project))
    command = [str(Path(sys.executable).with_name("nvflare")), "provision", "-p", "project.yml"]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    kits = root / "workspace" / "plain" / "prod_00"
    resources = kits / "localhost" / "local" / "resources.json.default"
    resources.write_text(resources.read_text().replace("/tmp/nvflare", str(root / "storage")))
    return kits


def _start(kit: Path, kind: str, name: str) -> subprocess.Popen[bytes]:
    settings = ["secure_train=true", "org=x", "config_folder=config"] + ([f"uid={name}"] if kind == "client" else [])
    (kit / "transfer").mkdir(exist_ok=True)
    command = [sys.executable, "-m", f"nvflare.private.fed.app.{kind}.{kind}_train", "-m", str(kit)]
    command += ["-s", f"fed_{kind}.json", "--set", *settings]
    with (kit / "out.txt").open("wb") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)


def _run_theirs(root: Path, kits: Path, rounds: int, sites: tuple[str, ...], width: int) -> None:
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
    os.chdir(kits)
    session = new_secure_session("lead@x.org", str(kits / "lead@x.org"), timeout=60.0)
    while len(session.get_connected_client_list()) < len(sites):
        time.sleep(0.5)
    job_id = session.submit_job(str(root / "job" / f"plain-{width}"))
    meta = session.wait_for_job(job_id, timeout=1200.0, poll_interval=_POLL_SECONDS)
    session.close()
    if meta.get("status") != "FINISHED:COMPLETED":
        raise SystemExit(f"NVFlare's job ended with {meta.get('status')}")


if __name__ == "__main__":
    main()
