# SPDX-License-Identifier: Apache-2.0
"""Real abstracts, five conditions, three sites with skewed shares of them: pooled, alone and federated.

Run it: .venv/bin/python benchmarks/medical_abstracts.py [--seeds 1] [--rounds 10] [--steps 8] [--in-process]

The federation is real: a server and three sites as processes of this machine, mutual TLS, sandboxed trainers. Alone and
pooled run in the same sandbox with the same first adapter and method; alone takes as many steps as a site takes in the
federation, pooled as many as all sites take. All are measured on the same fifth of the corpus, which no site holds.

With `--in-process` the same is learnt without processes, sandbox and wire, see `in_process.py`, so that several seeds
are affordable; of every way the round that measured best on validation records is measured then. A seed draws the
split, the first weights and the order of records.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyarrow as pa
from in_process import Site, job_of, parquet_dataset, study, table_of
from tests.federation_folder import base_model, default_job, merged
from tests.medical_abstracts import CONDITIONS, JOB, Records, federation, find, job_changes, read, split

from cloister.demo import compare
from cloister.flare.state import State
from cloister.records import split_key
from cloister.reports import Comparison
from cloister.repository import load_repository
from cloister.silos import Dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16, help="with --in-process")
    parser.add_argument("--in-process", action="store_true", help="without sandbox and wire")
    parser.add_argument("--ways", nargs="+", default=["federated", "pooled", "alone"], help="with --in-process")
    options = parser.parse_args()
    if find() is None:
        raise SystemExit("the folder `shared/data` with real records does not lie beside the project")
    if options.in_process:
        learn_in_process(options)
        return
    found = [run(seed, options.rounds, options.steps, options.tokens) for seed in range(1, options.seeds + 1)]
    print(
        f"\n{options.rounds} rounds of {options.steps} steps, {options.seeds} seed(s), accuracy on held-out abstracts"
    )
    rows = {"before": [each.before for each in found], "pooled": [each.pooled or 0.0 for each in found]}
    rows["federated"] = [each.federated for each in found]
    for site in found[0].alone:
        rows[f"{site} alone"] = [each.alone[site][1] for each in found]
    for name, values in rows.items():
        spread = f"  (from {min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
        print(f"{name:16}{statistics.mean(values):.3f}{spread}")


def run(seed: int, rounds: int, steps: int, tokens: int) -> Comparison:
    """One seed, all three ways."""
    sites, test = split(read(), seed)
    sizes = ", ".join(f"{site} {len(records)}" for site, records in sites.items())
    print(f"seed {seed}: {sizes}, test {len(test)} abstracts", flush=True)
    with tempfile.TemporaryDirectory(prefix="medical-abstracts-") as name:
        root = federation(Path(name) / "federation", sites, rounds=rounds, steps=steps, seed=seed, tokens=tokens)
        program = str(Path(sys.executable).with_name("cloister"))
        for before in (["provision"], ["policy", "sign", "--untested"]):
            subprocess.run([program, *before], cwd=root, check=True, stdout=subprocess.DEVNULL)
        begun = time.monotonic()
        command = [program, "run", JOB, "--json"]
        done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE)
        print(f"  federated run took {time.monotonic() - begun:.0f} s", flush=True)
        adapter = Path(json.loads(done.stdout)["folder"]) / "adapter" / "adapter_model.safetensors"
        repo = load_repository(root)
        keys = {site: split_key(State(root).site(site)) for site in sites}
        return compare(repo, repo.jobs[JOB], adapter.read_bytes(), test, say, keys=keys, pooled=True)


def learn_in_process(options: argparse.Namespace) -> None:
    """All seeds, all ways, without a federation; test abstracts are dealt to the sites in thirds."""
    runs = []
    for seed in range(1, options.seeds + 1):
        split_up, test = split(read(), seed)
        changes = job_changes(
            rounds=options.rounds, steps=options.steps, seed=seed, tokens=options.tokens, batch=options.batch
        )
        job = job_of(merged(default_job(tuple(split_up)), changes))
        with tempfile.TemporaryDirectory(prefix="medical-abstracts-") as name:
            root = Path(name)
            sites = {
                site: Site(
                    _dataset(root / f"{site}.parquet", records),
                    _dataset(root / f"{site}-test.parquet", test[number :: len(split_up)]),
                )
                for number, (site, records) in enumerate(split_up.items())
            }
            ways = options.ways
            runs += study(job, sites, root=root, seeds=[seed], base_model=base_model(), ways=ways, say=say)
    for metric in ("accuracy", "macro_f1"):
        print(f"\n{table_of(runs, metric)}")


def _dataset(path: Path, records: Records) -> Dataset:
    columns: dict[str, dict[str, Any]] = {
        "note": {"kind": "text", "maximum_characters": 20_000},
        "triage": {"kind": "category", "values": CONDITIONS},
    }
    cells = {"note": [text for text, _ in records], "triage": [condition for _, condition in records]}
    return parquet_dataset(path, pa.table(cells), columns)


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
