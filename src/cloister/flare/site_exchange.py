# SPDX-License-Identifier: Apache-2.0
"""What passes between server and trainer at a site: weights down, an update up, and what stays here in between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from cloister.adapter_file import AdapterFile
from cloister.documents import Document
from cloister.errors import JobError
from cloister.files import private_folder, sha256_of
from cloister.flare.exchange import Ask
from cloister.flare.folding import FoldedHere
from cloister.flare.payload import Payload
from cloister.flare.site_weights import SiteWeights
from cloister.flare.trainer_blob import Kept, blob_layout, join, split
from cloister.jobs import AdapterLayout, Job
from cloister.jobs.adapter import Arrays
from cloister.jobs.kept_tensors import DITTO, KEPT, OWN_CONTROL, exchanged_layout, first_kept, kept_layout
from cloister.jobs.live_tensors import Factor, frozen_factor, live_layout
from cloister.vectors import Difference, Source
from cloister.weights_file import WeightsFile
from cloister.wire import CODECS, Encoder, Schema, largest_encoding, rounding_seed


@dataclass(frozen=True)
class Learnt:
    """What a trainer learnt in a round.

    Attributes:
        update: what it added to the weights that came, the tensors of `live` as one vector.
        live: the tensors that leave in this round.
        answer: the file that it wrote, with what stays at the site.
    """

    update: Source
    live: AdapterLayout
    answer: AdapterFile


class SiteExchange:
    """The tensors of one job at one site, from round to round.

    Args:
        document: the job.
        site: the site's name.
        network: the tensors of what is trained.
        folder: for tensors; made here, and removed by whoever ends the job.

    Attributes:
        layout: the tensors that the job exchanges.
        encoder: makes of an update what travels.
    """

    def __init__(self, document: Document[Job], site: str, network: AdapterLayout, folder: Path) -> None:
        self._job, self._site, self._digest = document.value, site, sha256_of(document.text)
        how = self._job.aggregation
        self.layout = exchanged_layout(how, network)
        self._kept_layout = kept_layout(how, network)
        self._folder = private_folder(folder)
        self._kept = self._first_kept(network)
        self._weights, self._folded = SiteWeights(self.layout, folder), FoldedHere(self._job, self.layout)
        self.encoder = self._new_encoder()

    @property
    def blob_layout(self) -> AdapterLayout:
        """All tensors that pass between the site and its trainer."""
        return blob_layout(self.layout, self._kept_layout)

    @property
    def most_bytes(self) -> int:
        """That the server may have to send in one task, in whichever form."""
        schema = Schema.of(self.layout)
        return max(largest_encoding(codec, schema) for codec in CODECS.values()) + self._folded.most_bytes

    def frozen(self, number: int) -> Factor | None:
        """The low-rank factor that is not trained in round ``number``, from 1."""
        return frozen_factor(self._job.aggregation.factors, number)

    def receive(self, ask: Ask, payload: Payload) -> tuple[WeightsFile, Path]:
        """Take over what the server sent; returns its weights, and the file that the trainer is given.

        Raises:
            CloisterError: where it is not what the server says it is.
        """
        received = self._weights.take(ask.weights, self._folded.take(ask.weights, payload))
        return received, join(self._folder / "request", received, self._kept, self._folded.arrays)

    def learnt(self, answer: Path, received: WeightsFile, number: int) -> Learnt:
        """Tell apart what the trainer gave back in round ``number``, in the file ``answer``.

        Raises:
            EgressError: where it is not exactly the job's tensors, all finite.
        """
        found = split(answer, self.layout, self._kept_layout)
        live = live_layout(self.layout, self.frozen(number))
        return Learnt(Difference(found.part(live), received.part(live)), live, found)

    def personal(self) -> Arrays:
        """What of the network is this site's alone, by the names that it has in the network; empty where nothing is."""
        return {
            name.removeprefix(DITTO): array
            for name, array in self._kept.arrays().items()
            if not name.startswith(OWN_CONTROL)
        }

    def left(self, learnt: Learnt) -> None:
        """Note that the update left the site: only now the trainer's kept tensors are the site's."""
        if self._kept_layout.tensors:
            answer = replace(learnt.answer, path=learnt.answer.path.replace(self._folder / "kept"))
            self._kept = Kept(self._kept_layout, answer.part(self._kept_layout, KEPT))

    def stayed(self) -> None:
        """Note that the update did not leave: what rounding took is counted from what was sent, and this was not."""
        self.encoder = self._new_encoder()

    def outgoing(self, number: int) -> Path:
        """The file for the update of round ``number``, if that is large; those of earlier rounds are removed.

        A name of its own: whoever still has to send an earlier one finds that one or none, and never this, which has
        not passed the gate yet.
        """
        for earlier in self._folder.glob("update-*"):
            earlier.unlink(missing_ok=True)
        return self._folder / f"update-{number}"

    def seed(self, number: int) -> int:
        """What rounding is drawn from in round ``number``; the same wherever the same document runs."""
        return rounding_seed(self._digest, self._site, number, "up")

    def _first_kept(self, network: AdapterLayout) -> Kept:
        arrays = first_kept(self._job.aggregation, network, self._job.seed)
        there = tuple(tensor for tensor in self._kept_layout.tensors if tensor.name in arrays)
        layout = replace(self._kept_layout, tensors=there)
        pieces = (arrays[tensor.name].reshape(-1) for tensor in there)
        return Kept(layout, WeightsFile.write(self._folder / "kept", layout, pieces))

    def _new_encoder(self) -> Encoder:
        plan = self._job.compression
        return Encoder(CODECS[plan.up], error_feedback=plan.error_feedback)


def opened(exchange: SiteExchange | None) -> SiteExchange:
    """``exchange`` itself.

    Raises:
        JobError: before the site's tensors are known.
    """
    if exchange is None:
        raise JobError("the server asked for a round before the site was ready")
    return exchange
