# SPDX-License-Identifier: Apache-2.0
"""A job's weights at the server: what the sites are sent of them, and how a round's updates become the next ones.

Everything lies in files and passes through memory block by block, so that neither the size of the network nor the
number of sites shows in the server's memory. An update is kept as it came until its round ends, and all are combined
then, in the order of the sites' names: which of them came first does not show in the result.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cloister.aggregation import Contribution
from cloister.documents import Document
from cloister.egress import write_adapter
from cloister.errors import JobError
from cloister.files import private_folder, sha256_of, write_pieces
from cloister.flare.broadcast import Broadcast
from cloister.flare.combined_updates import CombinedUpdates
from cloister.flare.exchange import Sent
from cloister.flare.factor_errors import FactorErrors
from cloister.flare.folding import PREFIX
from cloister.flare.lower_rank import LowerRank
from cloister.flare.payload import Payload, keep
from cloister.flare.spares import spare_in
from cloister.jobs import AdapterLayout, Job, adapter_config
from cloister.jobs.adapter import TensorSpec, finished_adapter, initial_values
from cloister.jobs.folded_tensors import folds
from cloister.jobs.kept_tensors import is_control
from cloister.jobs.live_tensors import Factor, frozen_factor, live_layout
from cloister.weights_file import WeightsFile
from cloister.wire import CODECS, EncodedVector, Schema, flatten, largest_encoding, unflatten


class RoundWeights:
    """The weights of one job, version by version.

    Args:
        document: the job, which says how updates are combined and in what form values travel.
        folder: for the weights; those of the last version are left there.
        scratch: for what lives no longer than the job; emptied here, and `close` removes it.
    """

    def __init__(self, document: Document[Job], folder: Path, scratch: Path) -> None:
        job = document.value
        self._job, self._folder = job, folder
        shutil.rmtree(scratch, ignore_errors=True)  # a job begins anew, and remembers nothing of one that was killed
        self._scratch = private_folder(scratch)
        self._updates = private_folder(scratch / "updates")
        self._combined = CombinedUpdates(job, private_folder(scratch / "optimiser"))
        sent = private_folder(scratch / "sent")
        self._broadcast, self._lower = Broadcast(job.compression, sent, sha256_of(document.text)), LowerRank(sent)
        self._current: WeightsFile | None = None
        self._version = 0
        self._layouts: Mapping[str, AdapterLayout] = {}
        self._records: Mapping[str, int] = {}
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

    @property
    def factor_errors(self) -> FactorErrors | None:
        """Of the last round's factors; None where the job's rule sums no products."""
        return self._combined.errors

    def begin(self, layout: AdapterLayout, sites: Mapping[str, AdapterLayout], records: Mapping[str, int]) -> None:
        """Draw the first weights.

        Args:
            layout: what the job exchanges.
            sites: by name what each site that takes part does; the same, or the same at a lower rank.
            records: by name how many each of them may train on.
        """
        self._current = self._first(layout)
        self._layouts, self._records = sites, records
        self._broadcast.begin(self._current)

    def open(self, number: int) -> None:
        """Begin round ``number``, from 1."""
        if self._current is None:
            raise JobError("the sites have not agreed on an adapter")
        if number != self._version + 1:
            raise JobError("a round was opened out of turn")
        self._forget_updates()

    def take(self, site: str, records: int, payload: Payload) -> int:
        """Check one site's update of the open round and keep it; returns its size in bytes.

        Raises:
            EgressError: where it is not an update of this job.
        """
        path = keep(payload, self._updates / site)
        vector = EncodedVector.open(path, CODECS[self._job.compression.up], Schema.of(self._live(site)))
        vector.check()
        self._came[site] = Contribution(site, float(records), vector)
        self._broadcast.has(site)
        return path.stat().st_size

    def most_from(self, site: str) -> int:
        """Bytes that an update of ``site`` in the open round takes at most; 0 of a site that does not take part."""
        if site not in self._layouts:
            return 0
        return largest_encoding(CODECS[self._job.compression.up], Schema.of(self._live(site)))

    @property
    def updates(self) -> int:
        """How many updates came in the open round."""
        return len(self._came)

    def close_round(self) -> None:
        """Make the next version of the updates that came.

        Raises:
            CloisterError: where they are too few for the job's rule.
        """
        number = self._version + 1
        new = self._combined.added(
            self.current,
            self.known,
            live_layout(self.current.layout, self._frozen(number)),
            list(self._came.values()),
            number=number,
            layouts=self._layouts,
            records=self._records,
            path=self._path(number),
            over=spare_in(self._folder),
        )
        turned = self._job.aggregation.factors == "fedsvd"  # also the factor that nobody trained
        following = self._broadcast.advance(new, None if turned else self._frozen(number))
        if following is not new:  # what is newest lies in the job's folder, and is there after `close`
            _put(following.path, new.path)
            following = WeightsFile(new.path, new.layout)
        self._current = following
        self._version = number
        self._forget_updates()

    def tasks(self, sites: Collection[str]) -> list[tuple[tuple[str, ...], Sent, Payload]]:
        """What each of ``sites`` is sent to have the newest weights; those that need the same are together."""
        lower = {site: layout for site in sites if (layout := self._layouts[site]) != self.current.layout}
        whole = [site for site in sites if site not in lower]
        tasks = self._broadcast.tasks(whole) + self._lower.tasks(self.known, self._version, lower)
        return [(names, *self._combined.folding.behind(sent, path)) for names, sent, path in tasks]

    def write_result(self, path: Path) -> dict[str, Any]:
        """Write what the sites have now to ``path`` as a result holds it, not durably; returns what is said beside it.

        Control variates are no part of it, and what was exchanged as a difference is added to what it differs from.
        """
        known = self.known
        kept = tuple(tensor for tensor in known.layout.tensors if not is_control(tensor.name))
        layout = replace(known.layout, tensors=kept, head_modules=_head_modules(known.layout, kept))
        config = adapter_config(self._job, layout)
        if folds(self._job.aggregation):
            arrays, config = self._combined.folding.finished(known.arrays(), config)
            write_pieces(path, [write_adapter(arrays)], durable=False)
        elif layout.bases:
            arrays = known.arrays()
            arrays = finished_adapter(layout, {tensor.name: arrays[tensor.name] for tensor in kept})
            WeightsFile.write(path, layout, [flatten(arrays, Schema.of(layout))])
        elif layout == known.layout:
            _put(known.path, path)
        else:
            part = known.part(layout)
            blocks = (part.block(number) for number in range(Schema.of(layout).blocks))
            WeightsFile.write(path, layout, blocks)
        return config

    def _first(self, layout: AdapterLayout) -> WeightsFile:
        values = initial_values(layout, self._job.seed)
        if folds(self._job.aggregation):
            drawn = self._combined.folding.drawn(unflatten(np.concatenate(list(values)), Schema.of(layout)), layout, 1)
            values = iter([flatten(drawn, Schema.of(layout))])
        return WeightsFile.write(self._path(0), layout, values)

    def close(self) -> None:
        """Remove what is not needed after the job."""
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _live(self, site: str) -> AdapterLayout:
        """What ``site`` sends in the open round."""
        return live_layout(self._layouts[site], self._frozen(self._version + 1))

    def _frozen(self, number: int) -> Factor | None:
        return frozen_factor(self._job.aggregation.factors, number)

    def _path(self, version: int) -> Path:
        return self._folder / f"adapter-{version:04d}.safetensors"

    def _forget_updates(self) -> None:
        self._came = {}
        for path in self._updates.iterdir():
            path.unlink()


def _put(weights: Path, path: Path) -> None:
    """Give ``weights``, which never change, one more name, atomically."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    os.link(weights, draft)
    draft.replace(path)


def _head_modules(layout: AdapterLayout, tensors: tuple[TensorSpec, ...]) -> tuple[str, ...]:
    """Those of which ``tensors`` has any: a head that stays at the sites is none that `peft` should look for."""
    there = {tensor.name.removeprefix(PREFIX).split(".")[0] for tensor in tensors}
    return tuple(module for module in layout.head_modules if module in there)
