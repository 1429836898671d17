# SPDX-License-Identifier: Apache-2.0
"""The weighted mean of many updates: how fast and how exact, beside a loop in C and NVFlare's own.

Run it: .venv/bin/python benchmarks/aggregate.py [--values 10000000] [--sites 16] [--repeats 9]

The floor is a loop compiled here (`cc -O3 -march=native`): two threads, four updates in one pass, nothing checked. All
ways have the updates in memory, as one tensor each, and take turns; the time of each turn is divided by that of the
loop's turn in the same repeat. Cloister's is the whole rule: sorted by site, checked, block by block, clipped.

The second table asks how far results are from the exact sum of what was sent, at weights of 50,000 and 80,000 records.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import ml_dtypes
import numpy as np
import torch
from nvflare.app_common.aggregators.weighted_aggregation_helper import WeightedAggregationHelper

from cloister.aggregation import Contribution, kernel
from cloister.aggregation.geometric_median import GeometricMedian
from cloister.aggregation.krum import Krum
from cloister.aggregation.mean import Mean
from cloister.aggregation.median import Median
from cloister.aggregation.mixing import Mixing
from cloister.aggregation.multi_krum import MultiKrum
from cloister.aggregation.norm_bounding import NormBounding
from cloister.aggregation.rule import Rule
from cloister.aggregation.trimmed_mean import TrimmedMean
from cloister.vectors import BLOCK_VALUES, Vector

LOOP = r"""
#include <pthread.h>
#include <stddef.h>
typedef struct { float *out; const float **u; const float *w; int sites; size_t from, to; } part;
static void *sum(void *given) {
  part *p = given;
  for (size_t start = p->from; start < p->to; start += 4096) {
    size_t end = start + 4096 < p->to ? start + 4096 : p->to;
    for (size_t i = start; i < end; i++) p->out[i] = 0;
    int k = 0;
    for (; k + 4 <= p->sites; k += 4) {
      const float *a = p->u[k], *b = p->u[k + 1], *c = p->u[k + 2], *d = p->u[k + 3], *w = p->w + k;
      for (size_t i = start; i < end; i++) p->out[i] += w[0] * a[i] + w[1] * b[i] + w[2] * c[i] + w[3] * d[i];
    }
    for (; k < p->sites; k++)
      for (size_t i = start; i < end; i++) p->out[i] += p->w[k] * p->u[k][i];
  }
  return 0;
}
void fused(float *out, const float **u, const float *w, int sites, size_t values) {
  part first = {out, u, w, sites, 0, values / 2}, second = {out, u, w, sites, values / 2, values};
  pthread_t thread;
  pthread_create(&thread, 0, sum, &second);
  sum(&first);
  pthread_join(thread, 0);
}
"""


@dataclass(frozen=True)
class View:
    """An update in memory of which blocks are views, so that no copy is measured."""

    values: Vector

    @property
    def size(self) -> int:
        return int(self.values.size)

    def block(self, number: int) -> Vector:
        return self.values[number * BLOCK_VALUES : (number + 1) * BLOCK_VALUES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=10_000_000)
    parser.add_argument("--sites", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    if shutil.which("cc") is None:
        raise SystemExit("there is no C compiler `cc` on this machine, which the floor needs")
    draw = np.random.default_rng(0)
    updates = [draw.standard_normal(options.values, dtype=np.float32) for _ in range(options.sites)]
    weights = [int(weight) for weight in draw.integers(100, 100_000, options.sites)]
    print(f"{options.values:,} values, {options.sites} sites, {options.repeats} repeats\n")
    print(speed(updates, weights, options.repeats))
    print(f"\n{other_rules(updates, weights, options.repeats)}")
    print(f"\n{exactness(draw)}")


def speed(updates: list[Vector], weights: list[int], repeats: int) -> str:
    """Markdown: each way's time over that of the loop in C."""
    with tempfile.TemporaryDirectory() as folder:
        loop = floor(updates, weights, Path(folder))
        ways: dict[str, Callable[[], object]] = {
            "fused loop in C": loop,
            "Cloister": lambda: ours(Mean(), updates, weights),
            "Cloister, numpy alone": lambda: by_numpy(updates, weights),
            "NVFlare's helper, torch tensors": lambda: theirs([torch.from_numpy(each) for each in updates], weights),
            "NVFlare's helper, numpy arrays": lambda: theirs(updates, weights),
            "numpy, one line": lambda: plain(updates, weights),
        }
        return ratios(ways, "fused loop in C", repeats)


def other_rules(updates: list[Vector], weights: list[int], repeats: int) -> str:
    """Markdown: each rule's time over that of the mean."""
    rules = (Mean(), Median(), TrimmedMean(2), Krum(2), MultiKrum(2), GeometricMedian())
    ways: dict[str, Callable[[], object]] = {rule.name: partial(ours, rule, updates, weights) for rule in rules}
    ways["mean behind maximum_norm"] = lambda: ours(NormBounding(Mean(), 1.0), updates, weights)
    mixed = [Mixing(rule, 2) for rule in (Median(), TrimmedMean(2), Krum(2), MultiKrum(2), GeometricMedian())]
    ways |= {f"{rule.name} behind mixing": partial(ours, rule, updates, weights) for rule in mixed}
    return ratios(ways, "mean", min(repeats, 5))


def ratios(ways: dict[str, Callable[[], object]], base: str, repeats: int) -> str:
    """Markdown: the median over repeats of each way's time over that of ``base``, and the range."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            if repeat:  # the first one is for warming up
                times[name].append(time.perf_counter() - begun)
    lines = [f"| | time over that of {base}: median | least to most |", "|---|---|---|"]
    for name, taken in times.items():
        over = [one / other for one, other in zip(taken, times[base], strict=True)]
        lines.append(f"| {name} | {statistics.median(over):.2f} | {min(over):.2f} to {max(over):.2f} |")
    return "\n".join(lines)


def floor(updates: list[Vector], weights: list[int], folder: Path) -> Callable[[], Vector]:
    """The loop, compiled."""
    (folder / "loop.c").write_text(LOOP)
    command = ["cc", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "-pthread", "-o", "loop.so", "loop.c"]
    subprocess.run(command, cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "loop.so"))
    shares = (np.array(weights) / sum(weights)).astype(np.float32)
    pointers = (ctypes.c_void_p * len(updates))(*[update.ctypes.data for update in updates])
    values = ctypes.c_size_t(updates[0].size)

    def loop() -> Vector:
        out = np.empty_like(updates[0])
        library.fused(
            ctypes.c_void_p(out.ctypes.data), pointers, ctypes.c_void_p(shares.ctypes.data), len(updates), values
        )
        return out

    check = loop()[:1000] - sum(share * update[:1000] for share, update in zip(shares, updates, strict=True))
    assert np.abs(check).max() < 1e-5
    return loop


def ours(rule: Rule, updates: list[Vector], weights: list[int]) -> None:
    """The rule, block by block, each block dropped as it comes."""
    sites = [Contribution(f"site-{n:02}", w, View(u)) for n, (u, w) in enumerate(zip(updates, weights, strict=True))]
    for _ in rule.combine(sites):
        pass


def by_numpy(updates: list[Vector], weights: list[int]) -> None:
    """The mean as vectors below `kernel.LARGE` are added."""
    before, kernel.LARGE = kernel.LARGE, updates[0].size + 1
    try:
        ours(Mean(), updates, weights)
    finally:
        kernel.LARGE = before


def theirs(updates: Sequence[Any], weights: list[int]) -> Any:
    """NVFlare's helper, as its FedAvg calls it."""
    helper = WeightedAggregationHelper()
    for number, (update, weight) in enumerate(zip(updates, weights, strict=True)):
        helper.add({"weights": update}, weight, f"site-{number}", 0)
    return helper.get_result()["weights"]


def plain(updates: list[Vector], weights: list[int]) -> Vector:
    total = float(sum(weights))
    return cast(Vector, sum(np.float32(weight / total) * u for u, weight in zip(updates, weights, strict=True)))


def exactness(draw: np.random.Generator) -> str:
    """Markdown: the root mean square error over that of the exact sum of what was sent."""
    sent = draw.standard_normal((16, 100_000)).astype(np.float32)
    sent += draw.standard_normal(100_000).astype(np.float32)
    lines = [
        "| sent as | weight of each site | Cloister | NVFlare's helper, torch | NVFlare's helper, numpy |",
        "|---|---|---|---|---|",
    ]
    kinds = (
        ("float32", np.float32, torch.float32),
        ("bfloat16", ml_dtypes.bfloat16, torch.bfloat16),
        ("float16", np.float16, torch.float16),
    )
    for name, numpys, torchs in kinds:
        for weight in (50_000, 80_000):
            cells = errors(sent.astype(numpys), torchs, [weight + 7 * site for site in range(len(sent))])
            lines.append(f"| {name} | {weight:,} and a little more | {' | '.join(cells)} |")
    return "\n".join(lines)


def errors(sent: np.ndarray[Any, Any], kind: torch.dtype, weights: list[int]) -> list[str]:
    """The error of Cloister, and of NVFlare with torch tensors and with numpy arrays."""
    exact = np.average(sent.astype(np.float64), axis=0, weights=weights)
    decoded = [row.astype(np.float32) for row in sent]
    sites = [Contribution(f"{n:02}", w, View(row)) for n, (row, w) in enumerate(zip(decoded, weights, strict=True))]
    return [
        error(lambda: np.concatenate(list(Mean().combine(sites))), exact),
        error(lambda: theirs([torch.from_numpy(row).to(kind) for row in decoded], weights).float().numpy(), exact),
        error(lambda: theirs(list(sent), weights).astype(np.float64), exact),
    ]


def error(make: Callable[[], np.ndarray[Any, Any]], exact: np.ndarray[Any, Any]) -> str:
    """The relative root mean square error in words, or what became of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = make()
    except Exception as problem:  # what it says is what is measured
        return f"fails: {type(problem).__name__}"
    if not np.isfinite(made).all():
        return f"{np.mean(~np.isfinite(made)):.0%} not finite"
    return f"{np.sqrt(np.mean((made - exact) ** 2) / np.mean(exact**2)):.1e}"


if __name__ == "__main__":
    main()
