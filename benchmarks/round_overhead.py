# SPDX-License-Identifier: Apache-2.0
"""What a round costs beyond training, in Cloister and in the same job written plainly on NVFlare's FedAvg recipe.

Run it: .venv/bin/python benchmarks/round_overhead.py [--rounds 12] [--sites 3]

All federations are real: sites and a server as processes of this machine, over mutual TLS, one after the other in one
run: NVFlare with its defaults, NVFlare told to have its sites ask for tasks every twenty milliseconds, and Cloister,
which sends them. All train the same LoRA adapter on the same base model for one step of four records per round. The
cost of a round is the time from the earliest start of training in one round to the earliest start in the next, less
the longest training of the round. The first round is left out. Beside it, what a job costs before its first training
and after its last.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.fuel.flare_api.flare_api import new_secure_session
from tests.federation_folder import JOB, LABELS, PERSON, base_model, make_federation, records_of

from cloister.documents import load
from cloister.flare.processes import LocalFederation
from cloister.flare.session import connect
from cloister.jobs import layout_of
from cloister.repository import load_repository
from cloister.roster import Federation

SITES = ("alpha", "beta", "gamma")
RANK = 8
_POLL_SECONDS = 0.2
TARGETS = ("query", "value")

Span = tuple[float, float]
"""Start and end of one site's training in one round, seconds since the epoch."""


@dataclass(frozen=True)
class Run:
    """One job.

    Attributes:
        spans: of its trainings, by round.
        submitted: when it was, seconds since the epoch.
        finished: when it was known to be.
    """

    spans: dict[int, list[Span]]
    submitted: float
    finished: float

    @property
    def before(self) -> float:
        """Seconds from submission to the first training."""
        return min(start for spans in self.spans.values() for start, _ in spans) - self.submitted

    @property
    def after(self) -> float:
        """Seconds from the end of the last training to the end of the job."""
        return self.finished - max(end for spans in self.spans.values() for _, end in spans)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--sites", type=int, choices=(2, 3), default=3)
    options = parser.parse_args()
    rounds, sites = options.rounds, SITES[: options.sites]
    ways: dict[str, Callable[[Path], Run]] = {
        "NVFlare FedAvg recipe": lambda root: plain_nvflare(root, rounds, sites, tuned=False),
        "the same, asking every 20 ms": lambda root: plain_nvflare(root, rounds, sites, tuned=True),
        "Cloister": lambda root: cloister(root, rounds, sites),
    }
    found: dict[str, Run] = {}
    print(f"{rounds} rounds, {len(sites)} sites, one step of 4 records per round", flush=True)
    for way, run in ways.items():
        print(f"running {way} …", flush=True)
        with tempfile.TemporaryDirectory(prefix="round-overhead-") as name:
            found[way] = run(Path(name) / "federation")
    print(f"{'':30}{'median':>8}{'maximum':>9}{'before':>8}{'after':>7}   s per round beyond training; s per job")
    for way, each in found.items():
        values = costs(each.spans)
        print(f"{way:30}{statistics.median(values):8.3f}{max(values):9.3f}{each.before:8.1f}{each.after:7.1f}")
    ours = statistics.median(costs(found["Cloister"].spans))
    for way, each in found.items():
        print(f"ratio of medians to {way}: {statistics.median(costs(each.spans)) / ours:.1f}")


def costs(spans: dict[int, list[Span]]) -> list[float]:
    """Seconds beyond training of each round but the first."""
    numbers = sorted(spans)
    return [
        min(start for start, _ in spans[after])
        - min(start for start, _ in spans[number])
        - max(end - start for start, end in spans[number])
        for number, after in itertools.pairwise(numbers[1:])
    ]


def cloister(root: Path, rounds: int, sites: tuple[str, ...]) -> Run:
    """Run the job with Cloister; the sites' logs say when and how long each trainer worked."""
    job = {
        "method": {"lora": {"rank": RANK, "alpha": 2 * RANK, "targets": list(TARGETS)}},
        "training": {"steps": 1, "batch_size": 4},
        "federation": {"rounds": rounds, "minimum_sites": len(sites)},
    }
    make_federation(
        root, sites={site: records_of(site) for site in sites}, job=job, policy={"training": {"maximum_rounds": 1000}}
    )
    program = str(Path(sys.executable).with_name("cloister"))

    def type_in(*command: str) -> None:
        subprocess.run([program, *command], cwd=root, check=True, stdout=subprocess.DEVNULL)

    for command in (["provision"], ["policy", "sign", "--untested"], ["up"]):
        type_in(*command)
    try:
        submitted, finished = _run_ours(root, sites)
    finally:
        type_in("down")
    spans: dict[int, list[Span]] = {}
    line = re.compile(r"^(\S+ \S+) INFO .*round (\d+): the trainer took ([0-9.]+) s$")
    for log in root.glob(".cloister/sites/*/*/log.txt"):
        for found in filter(None, map(line.match, log.read_text().splitlines())):
            end = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()
            spans.setdefault(int(found[2]), []).append((end - float(found[3]), end))
    return Run(spans, submitted, finished)


def _run_ours(root: Path, sites: tuple[str, ...]) -> tuple[float, float]:
    document = load_repository(root).jobs[JOB]
    roster = load(root / "provisioning" / "federation.yaml", Federation).value
    with connect(LocalFederation(root, roster).state.person(PERSON), PERSON) as session:
        job_id = session.submit(document, list(sites))
        submitted = time.time()
        while not (view := session.job(job_id)).finished:
            time.sleep(_POLL_SECONDS)
        finished = time.time()
    if not view.completed:
        raise SystemExit(f"Cloister's job ended with {view.status}")
    return submitted, finished


CLIENT = """
import json, sys, time
import nvflare.client as flare
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

torch.set_num_threads(1)
folder, out, rank, targets, labels = sys.argv[1:6]
rank, targets, labels = int(rank), targets.split(","), int(labels)
base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=labels)
model = get_peft_model(base, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, task_type="SEQ_CLS"))
tokenizer = AutoTokenizer.from_pretrained(folder)
texts = [f"bed {n}: patient with sore feet" for n in range(24)]
batch = tokenizer(texts, padding=True, return_tensors="pt")
classes = torch.arange(24) % labels
parameters = [p for p in model.parameters() if p.requires_grad]
flare.init()
site = flare.get_site_name()
while flare.is_running():
    received = flare.receive()
    if received is None:
        break
    start = time.time()
    flat = torch.as_tensor(received.params["weight"]).reshape(-1)
    if received.current_round > 0:
        torch.nn.utils.vector_to_parameters(flat, parameters)
    with torch.inference_mode():
        logits = model(**{k: v[:6] for k, v in batch.items()}).logits
        accuracy = (logits.argmax(-1) == classes[:6]).float().mean().item()
    optimiser = torch.optim.AdamW(parameters, lr=2e-3)
    loss = model(**{k: v[6:10] for k, v in batch.items()}, labels=classes[6:10]).loss
    loss.backward(); optimiser.step(); optimiser.zero_grad()
    weight = torch.nn.utils.parameters_to_vector(parameters).detach().reshape(-1, 1)
    with open(f"{out}/{site}.jsonl", "a") as stream:
        stream.write(json.dumps([received.current_round, start, time.time()]) + chr(10))
    flare.send(flare.FLModel(params={"weight": weight}, metrics={"accuracy": accuracy},
                             meta={"NUM_STEPS_CURRENT_ROUND": 1}))
"""


def plain_nvflare(root: Path, rounds: int, sites: tuple[str, ...], *, tuned: bool) -> Run:
    """Provision and run NVFlare as its own documentation says; with its defaults, or as often asked as it lets one."""
    root.mkdir(parents=True)
    out = root / "spans"
    out.mkdir()
    kits = _provision(root, sites)
    script = root / "client.py"
    script.write_text(CLIENT)
    job = _recipe(root, script, out, rounds, sites, tuned=tuned)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    processes = [_start(kits / "localhost", "server", "localhost", environment)]
    processes += [_start(kits / site, "client", site, environment) for site in sites]
    try:
        submitted, finished = _run_job(kits, job, sites)
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
    spans: dict[int, list[Span]] = {}
    for path in out.glob("*.jsonl"):
        for number, start, end in map(json.loads, path.read_text().splitlines()):
            spans.setdefault(number, []).append((start, end))
    return Run(spans, submitted, finished)


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


def _start(kit: Path, kind: str, name: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    settings = ["secure_train=true", "org=x", "config_folder=config"] + ([f"uid={name}"] if kind == "client" else [])
    (kit / "transfer").mkdir(exist_ok=True)
    command = [sys.executable, "-m", f"nvflare.private.fed.app.{kind}.{kind}_train", "-m", str(kit)]
    command += ["-s", f"fed_{kind}.json", "--set", *settings]
    with (kit / "out.txt").open("wb") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=stream, env=environment, start_new_session=True)


def _recipe(root: Path, script: Path, out: Path, rounds: int, sites: tuple[str, ...], *, tuned: bool) -> Path:
    folder = make_federation(root / "documents", job={"method": {"lora": {"rank": RANK, "targets": list(TARGETS)}}})
    size = layout_of(load_repository(folder).jobs[JOB].value, base_model=base_model()).size
    recipe = FedAvgRecipe(
        name="plain",
        model={"class_path": "torch.nn.Linear", "args": {"in_features": 1, "out_features": size, "bias": False}},
        min_clients=len(sites),
        num_rounds=rounds,
        train_script=str(script),
        train_args=f"{base_model()} {out} {RANK} {','.join(TARGETS)} {len(LABELS)}",
    )
    if tuned:
        recipe.add_server_config({"server": {"task_request_interval": 0.02}})
    recipe.export(str(root / "job"))
    return root / "job" / "plain"


def _run_job(kits: Path, job: Path, sites: tuple[str, ...]) -> tuple[float, float]:
    os.chdir(kits)
    session = new_secure_session("lead@x.org", str(kits / "lead@x.org"), timeout=60.0)
    while len(session.get_connected_client_list()) < len(sites):
        time.sleep(0.5)
    job_id = session.submit_job(str(job))
    submitted = time.time()
    meta = session.wait_for_job(job_id, timeout=600.0, poll_interval=_POLL_SECONDS)
    finished = time.time()
    session.close()
    if meta.get("status") != "FINISHED:COMPLETED":
        raise SystemExit(f"NVFlare's job ended with {meta.get('status')}")
    return submitted, finished


if __name__ == "__main__":
    main()
