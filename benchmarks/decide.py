# SPDX-License-Identifier: Apache-2.0
"""How long one decision takes, on the reference federation's policy, baseline, silo and job.

Run it: .venv/bin/python benchmarks/decide.py [--runs 2000]

Documents are read before the clock starts. Each run asks every rule of both policies at the last gate, where each
has facts to look at: a counted view, and an update that is about to leave.
"""

from __future__ import annotations

import argparse
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

from cloister.policies import RULES, Leaving, Request, Submitter, ViewFacts, decide
from cloister.repository import load_repository

ROOT = Path(__file__).resolve().parents[1]
SITE, JOB, PERSON = "hospital-north", "triage-notes", "ada@research.example"
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    repository = load_repository(ROOT)
    policies = repository.policies_of(SITE)
    request = Request(
        SITE,
        Submitter(PERSON, "research-institute", "data-scientist"),
        repository.jobs[JOB],
        repository.silos[SITE],
        view=ViewFacts(234, {"routine": 118, "soon": 70, "urgent": 25, "emergency": 21}),
        leaving=Leaving(320_000, 640_000, 1.5, {"accuracy": 0.8, "loss": 0.6}, ("adapter", "head")),
    )
    decision = decide(request, policies, NOW)
    if not decision.allowed:
        raise SystemExit(decision.sentence())
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        decide(request, policies, NOW)
        seconds.append(time.perf_counter() - started)
    median, worst = statistics.median(seconds) * 1e6, statistics.quantiles(seconds, n=100)[98] * 1e6
    print(
        f"decide: {len(RULES)} rules, two policies: median {median:.0f} us, 99th percentile {worst:.0f} us, {runs} runs"
    )


if __name__ == "__main__":
    main()
