# SPDX-License-Identifier: Apache-2.0
"""The median over many sites: memory and processor time, read in stretches as it is and in whole blocks.

Run it: .venv/bin/python benchmarks/many_updates.py [--sites 200]

Each site's update is one block, a million values, normally distributed, encoded as it travels; four different ones are
there, which sites share. Each row is a process of its own: its peak beyond what it had before the median, and its
processor time. Stretches hold 64 MiB; to read a block in several of them it is decoded as often.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import get_args

import numpy as np

from cloister.aggregation import Contribution, stretches
from cloister.aggregation.median import Median
from cloister.jobs.compression import CodecName
from cloister.vectors import BLOCK_VALUES, Vector
from cloister.wire import CODECS, Codec

WAYS = ("whole blocks", "stretches")


@dataclass(frozen=True)
class Update:
    """One block that is decoded each time."""

    piece: bytes
    codec: Codec
    size: int = BLOCK_VALUES

    def block(self, number: int) -> Vector:  # noqa: ARG002 - there is one
        return self.codec.decode(self.piece, self.size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=200)
    parser.add_argument("--codecs", nargs="+", choices=get_args(CodecName), default=["float32", "int8"])
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(measured(options.codecs[0], options.one, options.sites))
        return
    print("| sent as | read in | peak, MiB | processor, s |\n|---|---|---|---|")
    for codec in options.codecs:
        for way in WAYS:
            command = [sys.executable, __file__, "--sites", str(options.sites), "--codecs", codec, "--one", way]
            print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)


def measured(codec: CodecName, way: str, sites: int) -> str:
    """A row of the table, by this process."""
    if way == "whole blocks":
        stretches.MOST_VALUES = sites * BLOCK_VALUES
    draw = np.random.default_rng(0)
    blocks = [draw.standard_normal(BLOCK_VALUES, dtype=np.float32) for _ in range(4)]
    pieces = [CODECS[codec].encode(block, draw) for block in blocks]
    updates = [Contribution(f"site-{n:03}", 1, Update(pieces[n % 4], CODECS[codec])) for n in range(sites)]
    before, begun = peak(), time.process_time()
    for _ in Median().combine(updates):
        pass
    return f"| {codec} | {way} | {peak() - before:.0f} | {time.process_time() - begun:.1f} |"


def peak() -> float:
    """The largest resident set so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
