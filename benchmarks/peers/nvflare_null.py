# SPDX-License-Identifier: Apache-2.0
"""A null job on NVFlare's own FedAvg recipe for numpy: a server and sites as processes, provisioned, over mutual TLS.

Run by the Python of NVFlare's own environment: nvflare_null.py FOLDER ROUNDS SITES [--tuned]. Prints one JSON value:
when each round began at each site, when the job was submitted, and when it was known to be finished.

Everything is NVFlare's default; `--tuned` has sites ask for their next task every 20 ms instead of every two seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from nvflare.app_common.np.recipes.fedavg import NumpyFedAvgRecipe
from nvflare.fuel.flare_api.flare_api import new_secure_session

CLIENT = """
import json, sys, time
import nvflare.client as flare

flare.init()
with open(f"{sys.argv[1]}/{flare.get_site_name()}.jsonl", "a") as stream:
    while flare.is_running():
        received = flare.receive()
        if received is None:
            break
        stream.write(json.dumps([received.current_round + 1, time.time()]) + chr(10))
        stream.flush()
        flare.send(flare.FLModel(params={name: values + 1 for name, values in received.params.items()}))
"""
ADMIN = "lead@x.org"
POLL_SECONDS = 0.2


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("rounds", type=int)
    parser.add_argument("sites", type=int)
    parser.add_argument("--tuned", action="store_true")
    options = parser.parse_args()
    root, sites = options.root, [f"site-{number}" for number in range(1, options.sites + 1)]
    times = root / "times"
    times.mkdir(parents=True)
    with contextlib.redirect_stdout(sys.stderr):
        kits = provision(root, sites)
        job = recipe(root, times, options.rounds, len(sites), tuned=options.tuned)
        processes = [start(kits / "localhost", "server", "localhost"), *(start(kits / s, "client", s) for s in sites)]
        try:
            submitted, finished = run(kits, job, len(sites))
        finally:
            for process in processes:
                os.killpg(process.pid, signal.SIGKILL)
    starts: dict[int, list[float]] = {}
    for path in times.glob("*.jsonl"):
        for number, begun in map(json.loads, path.read_text().splitlines()):
            starts.setdefault(number, []).append(begun)
    print(json.dumps({"starts": starts, "submitted": submitted, "finished": finished}))


def provision(root: Path, sites: list[str]) -> Path:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    participants = [{"name": "localhost", "type": "server", "org": "x", "fed_learn_port": port}]
    participants += [{"name": site, "type": "client", "org": "x"} for site in sites]
    participants += [{"name": ADMIN, "type": "admin", "org": "x", "role": "lead"}]
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


def start(kit: Path, kind: str, name: str) -> subprocess.Popen[bytes]:
    settings = ["secure_train=true", "org=x", "config_folder=config"] + ([f"uid={name}"] if kind == "client" else [])
    (kit / "transfer").mkdir(exist_ok=True)
    command = [sys.executable, "-m", f"nvflare.private.fed.app.{kind}.{kind}_train", "-m", str(kit)]
    command += ["-s", f"fed_{kind}.json", "--set", *settings]
    with (kit / "out.txt").open("wb") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)


def recipe(root: Path, times: Path, rounds: int, sites: int, *, tuned: bool) -> Path:
    script = root / "client.py"
    script.write_text(CLIENT)
    made = NumpyFedAvgRecipe(
        name="plain",
        model=[0.0] * 10,
        min_clients=sites,
        num_rounds=rounds,
        train_script=str(script),
        train_args=str(times),
    )
    if tuned:
        made.add_server_config({"server": {"task_request_interval": 0.02}})
    made.export(str(root / "job"))
    return root / "job" / "plain"


def run(kits: Path, job: Path, sites: int) -> tuple[float, float]:
    """When the job was submitted, and when it was known to be finished."""
    os.chdir(kits)
    session = new_secure_session(ADMIN, str(kits / ADMIN), timeout=60.0)
    while len(session.get_connected_client_list()) < sites:
        time.sleep(0.5)
    job_id = session.submit_job(str(job))
    submitted = time.time()
    meta = session.wait_for_job(job_id, timeout=600.0, poll_interval=POLL_SECONDS)
    finished = time.time()
    session.close()
    if meta.get("status") != "FINISHED:COMPLETED":
        raise SystemExit(f"NVFlare's job ended with {meta.get('status')}")
    return submitted, finished


if __name__ == "__main__":
    main()
