# SPDX-License-Identifier: Apache-2.0
"""What the server sends of the weights: to a site that has the version before, no more than what takes it on.

Where values are rounded on the way down, the sites all have the same weights, which are not quite the server's. Those
known ones are kept beside them, and what is sent next is the difference from them: what rounding took from one round is
in the next one's difference (error feedback at the server, as in DoubleSqueeze, https://arxiv.org/abs/1905.05957).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from cloister.adapter_file import is_finite
from cloister.errors import JobError
from cloister.files import write_pieces, writing
from cloister.flare.exchange import Sent
from cloister.flare.spares import set_aside, spare_in
from cloister.jobs import AdapterLayout
from cloister.jobs.compression import CodecName, Compression
from cloister.jobs.live_tensors import Factor, live_layout
from cloister.vectors import Difference, Source, Vector
from cloister.weights_file import WeightsFile
from cloister.wire import CODECS, Codec, Encoded, Encoder, Schema, rounding_seed

_EXACT: CodecName = "float32"


class Broadcast:
    """The way down of one job.

    Args:
        compression: what the job says of it.
        folder: for what is sent; the caller removes it.
        job: digest of its document, which rounding is drawn from.
    """

    def __init__(self, compression: Compression, folder: Path, job: str) -> None:
        self._compression, self._folder, self._job = compression, folder, job
        self._known: WeightsFile | None = None
        self._version = 0
        self._step: tuple[Sent, Path] | None = None  # from the version before to this one
        self._whole: Path | None = None
        self._held: dict[str, int] = {}

    @property
    def known(self) -> WeightsFile:
        """The weights as the sites have them.

        Raises:
            JobError: before there are any.
        """
        if self._known is None:
            raise JobError("the sites have not agreed on an adapter")
        return self._known

    def begin(self, weights: WeightsFile) -> None:
        """Take the first weights, version 0."""
        self._known = weights

    def advance(self, weights: WeightsFile, without: Factor | None) -> WeightsFile:
        """Go on to the next version.

        Args:
            weights: the new ones, which differ from the ones before in all tensors but those ``without``.
            without: the low-rank factor that stayed as it was.

        Returns:
            The weights that training goes on from: ``weights``, or where the job wants no error feedback, what the
            sites have of them.

        Raises:
            JobError: where what the sites would have is no longer finite, because rounding made it larger.
            EgressError: where a difference is larger than the form of values takes.
        """
        before, base = self.known, self._version
        codec, changed = CODECS[self._compression.down], live_layout(weights.layout, without)
        self._forget()
        self._version += 1
        path = self._folder / f"step-{self._version:04d}"
        kind: Literal["values", "differences"] = "values" if codec.lossless else "differences"
        self._step = (Sent(version=self._version, kind=kind, base=base, without=without, codec=codec.name), path)
        if codec.lossless:
            self._encode(path, codec, changed, weights.part(changed))
            self._known = weights
            return weights
        pieces = self._pieces(codec, changed, Difference(weights.part(changed), before.part(changed)))
        known = self._folder / f"known-{self._version:04d}.safetensors"
        with writing(path, durable=False) as sent:

            def change(_: int, values: Vector) -> Vector:
                piece = next(pieces)
                sent.write(piece.content)
                with np.errstate(over="ignore"):  # it is looked at
                    values += piece.values
                if not is_finite(values):
                    raise JobError("what the sites would have of the weights is no longer finite")
                return values

            self._known = before.changed(known, changed, change, over=spare_in(self._folder))
            sent.writelines(piece.content for piece in pieces)  # the header, where no tensor changed
        if before.path.parent == self._folder:  # the first weights are not kept here
            set_aside(before.path)
        return weights if self._compression.error_feedback else self._known

    def tasks(self, sites: Collection[str]) -> list[tuple[tuple[str, ...], Sent, Path]]:
        """What each of ``sites`` has to be sent to have the weights; those that need the same are together."""
        step = [site for site in sites if self._step is not None and self._held.get(site) == self._step[0].base]
        whole = sorted(set(sites) - set(step))
        tasks: list[tuple[tuple[str, ...], Sent, Path]] = []
        if step and self._step is not None:
            tasks.append((tuple(sorted(step)), *self._step))
        if whole:
            tasks.append((tuple(whole), Sent(version=self._version, kind="whole", codec=_EXACT), self._whole_file()))
        return tasks

    def has(self, site: str) -> None:
        """Note that ``site`` has the weights as they are now."""
        self._held[site] = self._version

    def _whole_file(self) -> Path:
        if self._whole is None:
            path = self._folder / f"whole-{self._version:04d}"
            self._encode(path, CODECS[_EXACT], self.known.layout, self.known)
            self._whole = path
        return self._whole

    def _forget(self) -> None:
        for path in (self._whole, None if self._step is None else self._step[1]):
            if path is not None:
                path.unlink(missing_ok=True)
        self._whole = self._step = None

    def _encode(self, path: Path, codec: Codec, layout: AdapterLayout, values: Source) -> None:
        write_pieces(path, (piece.content for piece in self._pieces(codec, layout, values)), durable=False)

    def _pieces(self, codec: Codec, layout: AdapterLayout, values: Source) -> Iterator[Encoded]:
        # What rounding leaves over is not kept here: it is in the difference from the weights that the sites have.
        encoder = Encoder(codec, error_feedback=False)
        seed = rounding_seed(self._job, "server", self._version, "down")
        return encoder.pieces(values, Schema.of(layout), seed, at_once=True)
