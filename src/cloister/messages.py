# SPDX-License-Identifier: Apache-2.0
"""What a site's job process and its trainer say to each other over a pipe.

One frame is: the magic ``CLS1``; two unsigned 64-bit little-endian lengths; a JSON message; a blob, which holds an
adapter as safetensors or nothing. The trainer is untrusted: lengths are checked before anything is read, and what it
says is validated against the models below.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from cloister.documents import Model
from cloister.errors import TrainerError
from cloister.jobs import AdapterLayout, DatasetRef, Imaging, Job, Method, Task, Training
from cloister.jobs.aggregation import Aggregation, ClientRule
from cloister.jobs.architecture import Architecture
from cloister.jobs.folded_tensors import folds
from cloister.jobs.kept_tensors import exchanged_layout, kept_layout
from cloister.jobs.live_tensors import Factor
from cloister.jobs.statistics import FeatureStatistics
from cloister.names import ColumnName
from cloister.silos import ColumnKind, Dataset

MAXIMUM_MESSAGE_BYTES = 1 << 20

_MAGIC = b"CLS1"
_HEAD = struct.Struct("<4sQQ")


class Setup(Model):
    """The first message: everything about the job that the trainer needs, and no more.

    Attributes:
        view: folder with `train.parquet` and `validation.parquet`, as the trainer sees it; where there are images, each
            cell of such a column names a NIfTI file below it.
        base_model: folder with the base model, as the trainer sees it; None where the job declares an architecture.
        task: what is learnt.
        dataset: which column is what.
        columns: the kind of each column of the view.
        method: how it is trained.
        architecture: the network, where the job declares one.
        imaging: the form that images are brought to.
        training: what is done in a round.
        rounds: how many the job has.
        statistics: of the features, over all sites; None where the task needs none.
        client: what is different about training at a site; None for plain training.
        shapes: shape of each tensor that is exchanged, by name; the trainer refuses to start where its own differ.
        kept: shape of each tensor that stays at the site, by name; see `cloister.jobs.kept_tensors`.
        folds: whether factors to fold into the base model come with each request; see `cloister.jobs.folded_tensors`.
        head_modules: modules that are trained whole, beside the low-rank factors.
        threads: CPU threads to use.
        code: folder with the job's own training code, as the trainer sees it; None for the built-in trainer.
    """

    kind: Literal["setup"] = "setup"
    view: str
    base_model: str | None = None
    task: Annotated[Task, Field(strict=False)]
    dataset: DatasetRef
    columns: dict[ColumnName, ColumnKind]
    method: Method
    architecture: Architecture | None = None
    imaging: Imaging | None = None
    training: Training
    rounds: int
    statistics: FeatureStatistics | None = None
    client: ClientRule | None = None
    shapes: dict[str, tuple[int, ...]]
    kept: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    folds: bool = False
    head_modules: tuple[str, ...] = ()
    threads: int
    code: str | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of their numbers."""
        return self.dataset.labels


def setup_of(  # noqa: PLR0913 - what a trainer is told, each by its name
    job: Job,
    dataset: Dataset,
    layout: AdapterLayout,
    *,
    view: Path,
    base_model: Path | None,
    threads: int,
    statistics: FeatureStatistics | None = None,
    aggregation: Aggregation | None = None,
) -> Setup:
    """The first message for ``job`` on a view of ``dataset``.

    Args:
        job: what is trained.
        dataset: what there is at the site.
        layout: of the whole network.
        view: folder of the view.
        base_model: its folder, where the job names one.
        threads: CPU threads to use.
        statistics: of the features, over all sites, where the task needs them.
        aggregation: what the job says about it; plain where not given.

    Raises:
        JobError: where the job trains nothing, or exchanges nothing of it.
    """
    how = aggregation or Aggregation()
    return Setup(
        view=str(view),
        base_model=None if base_model is None else str(base_model),
        task=job.task,
        dataset=job.dataset,
        columns={name: dataset.columns[name].kind for _, name, _ in job.dataset.columns},
        method=job.way,
        architecture=job.architecture,
        imaging=job.imaging,
        training=job.plan,
        rounds=job.federation.rounds,
        statistics=statistics,
        client=how.client,
        shapes=exchanged_layout(how, layout).shapes(),
        kept=kept_layout(how, layout).shapes(),
        folds=folds(how),
        head_modules=layout.head_modules,
        threads=threads,
    )


class Train(Model):
    """Measure the tensors in the blob on the validation records, train them for one round, send them back.

    The blob holds the exchanged tensors by their names, and the kept ones under `kept.` and theirs, both ways; the
    site's own copy is missing before its first round. Factors to fold in come under `folded.`, and do not go back.

    Attributes:
        round: decides, with the seed, the order of records.
        measure: whether to measure first.
        frozen: the low-rank factor that stays as it came; None where both are trained.
    """

    kind: Literal["train"] = "train"
    round: int
    measure: bool = True
    frozen: Factor | None = None


class Evaluate(Model):
    """Measure the tensors in the blob, which are those of `Train`, on the validation records."""

    kind: Literal["evaluate"] = "evaluate"


class Ready(Model):
    """The trainer has loaded base model and view."""

    kind: Literal["ready"] = "ready"


class Progress(Model):
    """One more optimiser step is done; for the site's eyes only."""

    kind: Literal["progress"] = "progress"
    step: int
    steps: int


class Done(Model):
    """The answer to `Train` (blob: the trained tensors) and to `Evaluate` (no blob).

    Attributes:
        metrics: by name: those of the weights as they came, see `cloister.jobs.FORMS`; `train_loss` of the round.
        records: training records that the round used.
    """

    kind: Literal["done"] = "done"
    metrics: dict[str, float]
    records: int = Field(ge=0)


class Failed(Model):
    """The trainer cannot go on. The reason may quote records, so it stays in the site's own log."""

    kind: Literal["failed"] = "failed"
    reason: str


Request = Setup | Train | Evaluate
Reply = Ready | Progress | Done | Failed

_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])
_REPLY: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="kind")])

ReadExactly = Callable[[int], bytes]
"""Reads so many bytes, or raises `TrainerError`."""


def frame_head(message: Request | Reply, blob_bytes: int) -> bytes:
    """One frame but for its blob, of ``blob_bytes`` bytes, which has to follow."""
    text = message.model_dump_json().encode()
    return _HEAD.pack(_MAGIC, len(text), blob_bytes) + text


def read_request(read: ReadExactly, *, maximum_blob_bytes: int) -> tuple[Request, bytes]:
    """The next frame from a site's job process.

    Raises:
        TrainerError: where what came is not a frame.
    """
    text, blob_bytes = _read(read, maximum_blob_bytes)
    blob = read(blob_bytes)
    try:
        return _REQUEST.validate_json(text), blob
    except ValidationError as error:
        raise TrainerError("the job process sent something that is no request") from error


def read_reply(read: ReadExactly, *, maximum_blob_bytes: int) -> tuple[Reply, int]:
    """The next frame from a trainer, but for its blob: how many bytes of it are to be read next.

    Raises:
        TrainerError: where what came is not a frame, is too long, or is no reply.
    """
    text, blob_bytes = _read(read, maximum_blob_bytes)
    try:
        return _REPLY.validate_json(text), blob_bytes
    except ValidationError as error:
        raise TrainerError("the trainer sent something that is no reply") from error


def _read(read: ReadExactly, maximum_blob_bytes: int) -> tuple[bytes, int]:
    magic, text_bytes, blob_bytes = _HEAD.unpack(read(_HEAD.size))
    if magic != _MAGIC:
        raise TrainerError("the pipe to the trainer carries something that is not a frame")
    if text_bytes > MAXIMUM_MESSAGE_BYTES or blob_bytes > maximum_blob_bytes:
        raise TrainerError("the pipe to the trainer carries a frame that is too long")
    return read(text_bytes), int(blob_bytes)
