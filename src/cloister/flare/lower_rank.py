# SPDX-License-Identifier: Apache-2.0
"""What the server sends to sites that take part with a lower rank than the job's, because their policy grants no more.

Their factors hold the largest directions of what all learnt, which is other factors in each round: so they are always
sent whole, and exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cloister.aggregation.factors import for_site
from cloister.files import write_pieces
from cloister.flare.exchange import Sent
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import FACTOR_A, Arrays
from cloister.weights_file import WeightsFile
from cloister.wire import CODECS, Encoder, Schema, flatten


class LowerRank:
    """The way down of one job to such sites.

    Args:
        folder: for what is sent; the caller removes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def tasks(
        self, known: WeightsFile, version: int, sites: Mapping[str, AdapterLayout]
    ) -> list[tuple[tuple[str, ...], Sent, Path]]:
        """As `Broadcast.tasks`, for ``sites``, each with what it exchanges."""
        by_rank: dict[int, list[str]] = {}
        for site, layout in sorted(sites.items()):
            by_rank.setdefault(rank_of(layout), []).append(site)
        tasks: list[tuple[tuple[str, ...], Sent, Path]] = []
        for rank, names in sorted(by_rank.items()):
            sent = Sent(version=version, kind="whole", codec="float32")
            tasks.append((tuple(names), sent, self._write(known, version, rank, sites[names[0]])))
        return tasks

    def _write(self, known: WeightsFile, version: int, rank: int, layout: AdapterLayout) -> Path:
        path = self._folder / f"rank-{rank}"
        schema = Schema.of(layout)
        encoder = Encoder(CODECS["float32"], error_feedback=False)
        values = flatten(for_site(known.arrays(), rank), schema)
        write_pieces(path, [encoder.encode(values, schema, version).content], durable=False)
        return path


def rank_of(layout: AdapterLayout) -> int:
    """The rank of the low-rank factors in ``layout``; 0 where there are none."""
    return next((tensor.shape[0] for tensor in layout.tensors if tensor.name.endswith(FACTOR_A)), 0)


def received_of(known: Arrays, layout: AdapterLayout) -> Arrays:
    """What a site that exchanges ``layout`` was sent of the weights ``known``."""
    return known if all(known[t.name].shape == t.shape for t in layout.tensors) else for_site(known, rank_of(layout))
