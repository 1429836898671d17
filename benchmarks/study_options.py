# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks that learn take from the command line alike, and how they tell what they do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from in_process import WAYS


def study_parser(
    documentation: str | None,
    *,
    seeds: int,
    rounds: int,
    steps: int,
    batch: int,
    rate: float | None,
    ways: Sequence[str] = WAYS,
) -> argparse.ArgumentParser:
    """A parser of `--seeds`, `--rounds`, `--steps`, `--batch`, `--rate` and `--ways`, with these defaults.

    Args:
        documentation: the benchmark's own, shown by `--help`.
        seeds: how many, from 0.
        rounds: of the federation.
        steps: of each site in each round.
        batch: records in a step.
        rate: of learning; None where the benchmark has it from elsewhere.
        ways: which are compared, see `in_process.py`.
    """
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--steps", type=int, default=steps, help="of each site in each round")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--rate", type=float, default=rate, help="of learning")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(ways))
    return parser


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)
