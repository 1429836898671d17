# SPDX-License-Identifier: Apache-2.0
"""A job's weights at the server: what the sites are sent of them, and how a round's updates become the next ones.

Everything lies in files and passes through memory block by block, so that neither the size of the network nor the
number of sites shows in the server's memory. An update is kept as it came until its round ends, and all are combined
then, in the order of the sites' names: which of them came first does not show in the result.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from cloister.aggregation import Contribution, optimiser_of, rule_of
from cloister.documents import Document
from cloister.errors import JobError
from cloister.files import private_folder, sha256_of
from cloister.flare.broadcast import Broadcast
from cloister.flare.exchange import Sent
from cloister.flare.payload import Payload, keep
from cloister.jobs import AdapterLayout, Job
from cloister.jobs.adapter import initial_values
from cloister.jobs.live_tensors import Factor, frozen_factor, live_layout
from cloister.vectors import Vector
from cloister.weights_file import WeightsFile
from cloister.wire import CODECS, EncodedVector, Schema


class RoundWeights:
    """The weights of one job, version by version.

    Args:
        document: the job, which says how updates are combined and in what form values travel.
        folder: for the weights; those of the last version are left there.
        scratch: for what lives no longer than the job; `close` removes it.
    """

    def __init__(self, document: Document[Job], folder: Path, scratch: Path) -> None:
        job = document.value
        self._job, self._folder = job, folder
        self._scratch = private_folder(scratch)
        self._updates = private_folder(scratch / "updates")
        self._rule = rule_of(job.aggregation)
        self._optimiser = optimiser_of(job.aggregation, private_folder(scratch / "optimiser"))
        self._broadcast = Broadcast(job.compression, private_folder(scratch / "sent"), sha256_of(document.text))
        self._current: WeightsFile | None = None
        self._version = 0
        self._came: dict[str, Contribution] = {}

    @property
    def current(self) -> WeightsFile:
        """The newest weights.

        Raises:
            JobError: before there are any.
        """
        if self._current is None:
            raise JobError("the sites have not agreed on an adapter")
        return self._current

    @property
    def known(self) -> WeightsFile:
        """The newest weights as the sites have them: what is measured, and what may become the result."""
        return self._broadcast.known

    def begin(self, layout: AdapterLayout) -> None:
        """Draw the first weights."""
        self._current = WeightsFile.write(self._path(0), layout, initial_values(layout, self._job.seed))
        self._broadcast.begin(self._current)

    def open(self, number: int) -> None:
        """Begin round ``number``, from 1."""
        if self._current is None:
            raise JobError("the sites have not agreed on an adapter")
        if number != self._version + 1:
            raise JobError("a round was opened out of turn")
        self._forget_updates()

    def live(self, number: int) -> AdapterLayout:
        """The tensors that are trained and sent in round ``number``."""
        return live_layout(self.current.layout, self._frozen(number))

    def take(self, site: str, records: int, payload: Payload) -> int:
        """Check one site's update of the open round and keep it; returns its size in bytes.

        Raises:
            EgressError: where it is not an update of this job.
        """
        path = keep(payload, self._updates / site)
        vector = EncodedVector.open(path, CODECS[self._job.compression.up], Schema.of(self.live(self._version + 1)))
        vector.check()
        self._came[site] = Contribution(site, float(records), vector)
        self._broadcast.has(site)
        return path.stat().st_size

    @property
    def updates(self) -> int:
        """How many updates came in the open round."""
        return len(self._came)

    def close_round(self) -> None:
        """Make the next version of the updates that came.

        Raises:
            CloisterError: where they are too few for the job's rule.
        """
        old, number = self.current, self._version + 1
        combined = self._rule.combine(list(self._came.values()))

        def changed(block: int, values: Vector) -> Vector:
            return values + self._optimiser.step(block, next(combined))

        new = old.changed(self._path(number), self.live(number), changed)
        self._optimiser.commit()
        self._current = self._broadcast.advance(new, self._frozen(number))
        self._version = number
        self._forget_updates()

    def tasks(self, sites: Iterable[str]) -> list[tuple[tuple[str, ...], Sent, Path]]:
        """What each of ``sites`` is sent to have the newest weights, see `Broadcast.tasks`."""
        return self._broadcast.tasks(sites)

    def close(self) -> None:
        """Remove what is not needed after the job."""
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _frozen(self, number: int) -> Factor | None:
        return frozen_factor(self._job.aggregation.factors, number)

    def _path(self, version: int) -> Path:
        return self._folder / f"adapter-{version:04d}.safetensors"

    def _forget_updates(self) -> None:
        self._came = {}
        for path in self._updates.iterdir():
            path.unlink()
