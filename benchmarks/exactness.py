# SPDX-License-Identifier: Apache-2.0
"""What each rule for low-rank factors loses of the sum of the sites' products, and what refactoring costs.

Run it: .venv/bin/python benchmarks/exactness.py [--rounds 3] [--steps 8] [--rank 8] [--only rules|times]

Real factors: all-MiniLM-L6-v2 with LoRA on query and value, four sites with skewed shares of real abstracts, trained by
the built-in trainer, by each rule from the same first weights. After each round the products of the server's factors
are compared with the sum that they stand for, written out in float64: the Frobenius norm of the difference over that of
the sum, over all layers together; the largest of the rounds is shown. Beside it the least that factors of the job's
rank must lose, from the dense matrix's singular values.

Then random factors of d x d: the time of refactoring one layer through QR beside that of a dense matrix and its SVD.
Set OMP_NUM_THREADS=1, so that both take one core.
"""

from __future__ import annotations

import argparse
import functools
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pyarrow as pa
import safetensors.numpy
import torch
from in_process import job_of, parquet_dataset
from tests.federation_folder import base_model, default_job, merged
from tests.medical_abstracts import CONDITIONS, Records, find, job_changes, read

from cloister.aggregation.factors import (
    Trained,
    averaging_error,
    fedsvd,
    folded,
    for_site,
    fresh,
    pairs_of,
    refactored,
    rest_of,
    stacked,
)
from cloister.aggregation.factors.pairs import Matrix, Pair, mean_of
from cloister.jobs import AdapterLayout, Job, initial_adapter, layout_of
from cloister.jobs.adapter import Arrays
from cloister.jobs.aggregation import FactorRule
from cloister.jobs.live_tensors import frozen_factor
from cloister.messages import Setup, setup_of
from cloister.records import ViewRequest, write_view
from cloister.silos import Dataset
from cloister.training.folded_factors import FoldedFactors
from cloister.training.tasks import trainer_for
from cloister.training.text_classifier import TextClassifier

SITES = ("alpha", "beta", "delta", "gamma")
SKEW = 0.3
"""Of the Dirichlet distribution that deals each condition's abstracts to the sites."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--only", choices=("rules", "times"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only != "times":
        if find() is None:
            raise SystemExit("the folder `shared/data` with real records does not lie beside the project")
        rules(options.rounds, options.steps, options.rank)
    if options.only != "rules":
        times()


@dataclass
class Rounds:
    """What one rule came to, each the largest of the rounds.

    Attributes:
        lost: of the sum, in the server's factors.
        least: that factors of the job's rank must lose.
        averaging: what averaging both factors would have lost of the same sites' factors.
        seconds: of the server's processor, all layers.
    """

    lost: float = 0.0
    least: float = 0.0
    averaging: float = 0.0
    seconds: float = 0.0


def rules(rounds: int, steps: int, rank: int) -> None:
    """Train by each rule and print the table."""
    changes = job_changes(rounds=rounds, steps=steps, seed=1, tokens=64)
    changes["method"] = {"lora": {"rank": rank, "alpha": 2 * rank, "targets": ["query", "value"]}}
    job = job_of(merged(default_job(SITES), changes))
    layout = layout_of(job, base_model=base_model())
    with tempfile.TemporaryDirectory(prefix="exactness-") as name:
        views = write_views(job, Path(name))
        print("records by site:", ", ".join(f"{site} {count}" for site, (_, _, count) in views.items()), flush=True)
        print(f"{rounds} rounds of {steps} steps, rank {rank}\n")
        print("| | lost of the sum | least at that rank | averaging would lose | server, ms per round |")
        print("|---|---|---|---|---|")
        mixed = dict(zip(SITES, (rank, rank, rank // 2, rank // 4), strict=True))
        runs: tuple[tuple[str, FactorRule, dict[str, int]], ...] = (
            ("fedit", "fedit", {}),
            ("ffa-lora", "ffa-lora", {}),
            ("rolora", "rolora", {}),
            ("fedsvd", "fedsvd", {}),
            ("refactored", "refactored", {}),
            (f"refactored, ranks {', '.join(map(str, mixed.values()))}", "refactored", mixed),
            ("flora", "flora", {}),
            (f"flora, ranks {', '.join(map(str, mixed.values()))}", "flora", mixed),
        )
        for shown, rule, ranks in runs:
            federation = Federation(job, layout, rule, {site: ranks.get(site, rank) for site in SITES}, views)
            found = federation.run(rounds)
            cells = (f"{each:.1e}" for each in (found.lost, found.least, found.averaging))
            print(f"| {shown} | {' | '.join(cells)} | {found.seconds * 1e3:.0f} |", flush=True)


class Federation:
    """Four trainers and a server in this process."""

    def __init__(
        self,
        job: Job,
        layout: AdapterLayout,
        rule: FactorRule,
        ranks: dict[str, int],
        views: Views,
    ) -> None:
        self.job, self.layout, self.rule, self.ranks, self.views = job, layout, rule, ranks, views
        self.layouts = {site: layout.at_rank(rank) for site, rank in ranks.items()}
        self.trainers = {
            site: _text_trainer(
                setup_of(job, dataset, self.layouts[site], view=view, base_model=base_model(), threads=1)
            )
            for site, (view, dataset, _) in views.items()
        }
        self.folds: dict[str, FoldedFactors] = {}

    def run(self, rounds: int) -> Rounds:
        found, current = Rounds(), initial_adapter(self.layout, self.job.seed)
        behind: Arrays = {}
        pairs = pairs_of(current)
        for number in range(1, rounds + 1):
            given = {site: self.given(current, number, site) for site in SITES}
            trained = [self.trained(site, given[site], behind, number) for site in SITES]
            wanted = {pair: self.wanted(pair, current, behind, given, trained) for pair in pairs}
            begun = time.process_time()
            current, behind = self.combined(current, behind, trained)
            found.seconds = max(found.seconds, time.process_time() - begun)
            holds = behind if self.rule == "flora" else current
            lost = [np.linalg.norm(written_out(pair, holds) - sum_) for pair, sum_ in wanted.items()]
            rank = max(self.ranks.values())
            least = [np.linalg.norm(np.linalg.svd(sum_)[1][rank:]) for sum_ in wanted.values()]
            whole = np.linalg.norm([np.linalg.norm(sum_) for sum_ in wanted.values()])
            found.lost = max(found.lost, float(np.linalg.norm(lost) / whole))
            found.least = max(found.least, float(np.linalg.norm(least) / whole))
            found.averaging = max(found.averaging, averaging_error(trained))
        return found

    def given(self, current: Arrays, number: int, site: str) -> Arrays:
        """What ``site`` begins the round with."""
        if self.rule == "flora":
            rest = {name: current[name] for name in rest_of(current)}
            return rest | fresh(self.layouts[site], self.job.seed, number)
        return for_site(current, self.ranks[site])

    def trained(self, site: str, given: Arrays, behind: Arrays, number: int) -> Trained:
        trainer = self.trainers[site]
        if self.rule == "flora":
            tensors = {name: torch.from_numpy(array) for name, array in behind.items()}
            if site not in self.folds:
                self.folds[site] = FoldedFactors(trainer.model)
            self.folds[site].fold(tensors)
        trainer.load_adapter(safetensors.numpy.save(given))
        trainer.freeze(frozen_factor(self.rule, number))
        done = trainer.train(number, lambda _step, _steps: None)
        return Trained(site, done.records, safetensors.numpy.load(trainer.adapter()))

    def wanted(
        self, pair: Pair, current: Arrays, behind: Arrays, given: dict[str, Arrays], trained: list[Trained]
    ) -> Matrix:
        """What the next factors stand for: what was there, and what each site changed, by its records."""
        total = sum(each.weight for each in trained)
        if self.rule == "flora":
            learnt = _sum(each.weight / total * written_out(pair, each.arrays) for each in trained)
            return written_out(pair, behind) + learnt if behind else learnt
        changed = ((t.weight / total, written_out(pair, t.arrays) - written_out(pair, given[t.site])) for t in trained)
        return written_out(pair, current) + _sum(share * change for share, change in changed)

    def combined(self, current: Arrays, behind: Arrays, trained: list[Trained]) -> tuple[Arrays, Arrays]:
        if self.rule == "refactored":
            return refactored(current, trained).arrays, behind
        if self.rule == "fedsvd":
            return fedsvd(current, trained).arrays, behind
        if self.rule == "flora":
            return current | mean_of(rest_of(current), trained), folded(behind, stacked(trained)).arrays
        return mean_of(list(current), trained), behind


def _text_trainer(setup: Setup) -> TextClassifier:
    trainer = trainer_for(setup)
    assert isinstance(trainer, TextClassifier)
    return trainer


def written_out(pair: Pair, arrays: Arrays) -> Matrix:
    b, a = pair.of(arrays)
    product: Matrix = b @ a
    return product


def _sum(matrices: Iterable[Matrix]) -> Matrix:
    return functools.reduce(np.add, matrices)


Views = dict[str, tuple[Path, Dataset, int]]
"""By site, its view, the dataset behind it, and how many records that has."""

COLUMNS: dict[str, dict[str, Any]] = {
    "note": {"kind": "text", "maximum_characters": 20_000},
    "triage": {"kind": "category", "values": CONDITIONS},
}


def write_views(job: Job, folder: Path) -> Views:
    """Each site's view of its records."""
    views: Views = {}
    for site, records in dealt(read()).items():
        cells = {"note": [text for text, _ in records], "triage": [condition for _, condition in records]}
        dataset = parquet_dataset(folder / f"{site}.parquet", pa.table(cells), COLUMNS)
        request = ViewRequest(job.dataset, job.seed, free_text="keep")
        key = b"one key for every site, no secret"[:32]
        write_view(dataset, request, key=key, root=folder, folder=folder / site, name=job.dataset.name)
        views[site] = folder / site, dataset, len(records)
    return views


def dealt(records: Records) -> dict[str, Records]:
    """``records`` by site, each condition dealt by shares of its own."""
    draw, shares = random.Random(1), np.random.Generator(np.random.PCG64(1))
    sites: dict[str, Records] = {site: [] for site in SITES}
    for condition in CONDITIONS:
        group = [record for record in records if record[1] == condition]
        draw.shuffle(group)
        ends = np.cumsum(shares.dirichlet([SKEW] * len(SITES))) * len(group)
        for record_number, record in enumerate(group):
            sites[SITES[min(int(np.searchsorted(ends, record_number)), len(SITES) - 1)]].append(record)
    return sites


def times(rank: int = 16) -> None:
    """Refactoring through QR beside the dense matrix and its SVD, one layer of d x d, in the processor's time."""
    print(f"\nrank {rank}\n\n| d | sites | through QR, ms | dense, ms | ratio |\n|---|---|---|---|---|")
    for d in (384, 4096):
        random_ = np.random.Generator(np.random.PCG64(0))
        current = factors(random_, d, rank)
        trained = [Trained(f"site-{index:02}", index + 1.0, factors(random_, d, rank)) for index in range(16)]
        # Of more sites the dense matrix takes no longer but for the sum, which is little beside its decomposition.
        slow = timed(functools.partial(dense, trained[:4]), 1 if d > 1000 else 3)
        for count in (4, 16):
            quick = timed(functools.partial(refactored, current, trained[:count]), 3)
            print(f"| {d} | {count} | {quick * 1e3:.0f} | {slow * 1e3:.0f} | {slow / quick:.1f} |", flush=True)


def factors(random_: np.random.Generator, d: int, rank: int) -> Arrays:
    return {
        "layer.lora_A.weight": random_.normal(size=(rank, d)).astype(np.float32),
        "layer.lora_B.weight": random_.normal(size=(d, rank)).astype(np.float32),
    }


def dense(trained: list[Trained]) -> Matrix:
    """The sum written out and decomposed, with the vectors that factors are made of."""
    total = sum(each.weight for each in trained)
    sum_ = _sum(each.weight / total * written_out(pairs_of(each.arrays)[0], each.arrays) for each in trained)
    return np.linalg.svd(sum_)[1]


def timed(call: Callable[[], object], repeats: int) -> float:
    """The shortest of ``repeats`` calls, in seconds of the processor, so that other work on the machine counts less."""
    seconds = []
    for _ in range(repeats):
        begun = time.process_time()
        call()
        seconds.append(time.process_time() - begun)
    return min(seconds)


if __name__ == "__main__":
    main()
