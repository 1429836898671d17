# SPDX-License-Identifier: Apache-2.0
"""The sections of a policy that grant something: who, which records, which models and methods, what leaves.

A section that is written is written whole; a key that is written and left empty is a mistake, not a permission.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from cloister.documents import Model
from cloister.jobs import Metric
from cloister.names import ONE_LINE, ColumnName, Line, ModulePath, PersonName, Sha256, Word
from cloister.roster import Role
from cloister.row_filter import MAXIMUM_CHARACTERS, parse

SandboxDemand = Literal["required", "unsafe-none"]
TensorPart = Literal["adapter", "head", "model"]
Network = Literal["base-model", "mlp", "ft_transformer", "unet", "densenet", "vit", "unetr"]
FreeText = Literal["mask", "refuse", "keep"]
LoraVariant = Literal["rslora", "dora"]


class Section(Model):
    """A part of a policy; what is left out and what is left empty are not the same."""

    @field_validator("*")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        # A key whose entries were all commented out must not read as a section that was never written.
        if value is None or value == ():
            raise ValueError("is left empty; fill it, or take the key out")
        return value


RowValues = Annotated[tuple[Line, ...], Field(min_length=1, max_length=1000)]


def _a_filter(text: str) -> str:
    parse(text)
    return text


FilterText = Annotated[
    str, StringConstraints(min_length=1, max_length=MAXIMUM_CHARACTERS, pattern=ONE_LINE), AfterValidator(_a_filter)
]
"""A condition on rows, see `cloister.row_filter.parse`."""


class Submitters(Section):
    """Who may ask. Somebody must be in every list that is given; with no list at all, nobody may.

    Attributes:
        people: by name, as in their certificate.
        roles: by their role in the roster.
        organisations: by whom they act for in the roster.
    """

    people: tuple[PersonName, ...] | None = Field(default=None, max_length=1000)
    roles: tuple[Role, ...] | None = None
    organisations: tuple[Word, ...] | None = Field(default=None, max_length=1000)


class Approval(Section):
    """On what ground the records may be used at all, and how long it holds.

    Attributes:
        kind: an ethics committee's decision, or the consent of those whom the records are about.
        reference: how the site's files name it.
        until: last day on which it holds.
    """

    kind: Literal["ethics", "consent"]
    reference: Line
    until: date


MINIMUM_VALIDATION_RECORDS = 10
"""What counts where a site's policy states no `minimum_validation_records`."""


class DatasetGrant(Section):
    """One dataset that may be trained on.

    Attributes:
        columns: those a job may read; no other is copied into its view.
        minimum_records: a view with fewer records to train on is refused; counted after `rows` has filtered.
        minimum_per_class: a view in which some class has fewer records to train on than this, or fewer at all, and more
            than none, is refused; counted as `minimum_records` is.
        minimum_validation_records: a view that keeps fewer records for validation than this, and more than none, is
            refused: metrics of a handful of records tell of each; `MINIMUM_VALIDATION_RECORDS` where a site's policy
            does not say.
        purposes: limits this dataset to some of the policy's purposes; all of them where not given.
        minimum_people: a view whose records to train on are of fewer people than this is refused; so is one of a
            dataset that says of nobody whom a record is about.
        rows: by column, the values that a row may have there; other rows never enter a view.
        filter: a condition that a row must meet; other rows never enter a view.
        free_text: what is done about free text in which somebody seems to be named; a job that reads free text is
            denied where a site's policy does not say. `keep` leaves it as it is.
        approval: on what ground the records may be used.
    """

    columns: tuple[ColumnName, ...] = Field(max_length=1000)
    minimum_records: int = Field(ge=1, le=10**12)
    minimum_per_class: int | None = Field(default=None, ge=1, le=10**12)
    minimum_validation_records: int | None = Field(default=None, ge=1, le=10**12)
    purposes: tuple[Word, ...] | None = Field(default=None, max_length=100)
    minimum_people: int | None = Field(default=None, ge=2, le=10**12)
    rows: dict[ColumnName, RowValues] | None = Field(default=None, min_length=1, max_length=100)
    filter: FilterText | None = None
    free_text: FreeText | None = None
    approval: Approval | None = None


class BaseModelGrant(Section):
    """One base model that may be trained.

    Attributes:
        name: what sites call it in their silo documents.
        sha256: of its `model.safetensors`.
        licence: SPDX identifier in lower case.
    """

    name: Word
    sha256: Sha256
    licence: Line


class LoraGrant(Section):
    """How far low-rank adaptation may reach.

    Attributes:
        maximum_rank: the inner dimension of each pair of factors; what leaves a site grows with it.
        targets: layers that may be adapted, as jobs name them.
        variants: of it that may be used, by their keys in a job; none where not given.
    """

    maximum_rank: int = Field(ge=1, le=256)
    targets: tuple[ModulePath, ...] = Field(max_length=100)
    variants: tuple[LoraVariant, ...] | None = None


class Ia3Grant(Section):
    """Which layers' values may be scaled.

    Attributes:
        targets: layers, as jobs name them.
    """

    targets: tuple[ModulePath, ...] = Field(max_length=100)


class VirtualTokensGrant(Section):
    """How many tokens may be learnt that stand before each text.

    Attributes:
        maximum_tokens: what leaves a site grows with it.
    """

    maximum_tokens: int = Field(ge=1, le=256)


class BitFitGrant(Section):
    """A base model's biases may be trained; there is nothing to say of it."""


class FullGrant(Section):
    """What may be trained whole.

    Attributes:
        networks: `base-model`, or declared architectures by their key in a job.
    """

    networks: tuple[Network, ...]


class Methods(Section):
    """The ways of training that are granted; one that is not named is denied.

    Attributes:
        lora: low-rank adaptation of a base model.
        ia3: factors for what some of a base model's layers give.
        prompt: embeddings before each text.
        prefix: keys and values before each text.
        bitfit: a base model's biases.
        full: training of every weight; much more leaves the site, and much more of the records can be in it.
    """

    lora: LoraGrant | None = None
    ia3: Ia3Grant | None = None
    prompt: VirtualTokensGrant | None = None
    prefix: VirtualTokensGrant | None = None
    bitfit: BitFitGrant | None = None
    full: FullGrant | None = None


class TrainingLimits(Section):
    """How much training one job may do here.

    Attributes:
        maximum_rounds: rounds.
        maximum_batch_size: records per optimiser step.
        maximum_steps_per_round: optimiser steps; where not given, a job that counts in steps is denied.
        maximum_epochs_per_round: passes over the records; where not given, a job that counts in epochs is denied.
        minimum_records_per_round: records that a round must train on, so that no update is of a few of them alone.
    """

    maximum_rounds: int = Field(ge=1, le=1000)
    maximum_batch_size: int = Field(ge=1, le=4096)
    maximum_steps_per_round: int | None = Field(default=None, ge=1, le=100_000)
    maximum_epochs_per_round: int | None = Field(default=None, ge=1, le=100)
    minimum_records_per_round: int | None = Field(default=None, ge=1, le=10**12)


class Bounds(Section):
    """Between which numbers a metric may lie.

    Attributes:
        minimum: the smallest that may leave.
        maximum: the largest that may leave.
    """

    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.minimum is None and self.maximum is None:
            raise ValueError("states neither `minimum` nor `maximum`")
        if self.minimum is not None and self.maximum is not None and self.maximum < self.minimum:
            raise ValueError("has a `maximum` below its `minimum`")
        return self


class StatisticsGrant(Section):
    """Descriptions of features that may leave.

    Attributes:
        minimum_count: no count above 0 that is smaller leaves, nor a mean or variance over fewer values.
    """

    minimum_count: int = Field(ge=2, le=10**9)


class MayLeave(Section):
    """What may leave the site: nothing that is not named here.

    Attributes:
        tensors: parts of an update: `adapter`, what is added to a base model; `head`, layers of a job's own that are
            trained whole beside it; `model`, a network's own weights, all of them or biases alone.
        maximum_bytes_per_round: size of everything that leaves in one round, bytes.
        maximum_bytes_per_job: size of everything that leaves in all rounds of one job together, bytes.
        maximum_norm: Euclidean (L2) norm of one round's update over all its tensors together.
        metrics: names of the numbers that may leave.
        metric_bounds: by name, between which numbers they may lie.
        statistics: counts, means and variances of features; tabular networks cannot be trained without.
    """

    tensors: tuple[TensorPart, ...]
    maximum_bytes_per_round: int = Field(ge=1, le=10**12)
    maximum_bytes_per_job: int | None = Field(default=None, ge=1, le=10**15)
    maximum_norm: float | None = Field(default=None, gt=0)
    metrics: tuple[Metric, ...]
    metric_bounds: dict[Metric, Bounds] | None = Field(default=None, min_length=1)
    statistics: StatisticsGrant | None = None


class Aggregation(Section):
    """With whom this site's updates may be averaged.

    Attributes:
        minimum_sites: an average over fewer sites than this is refused, as it would show one site's update.
        secure_aggregation: `required` where the server may see sums of updates only.
    """

    minimum_sites: int = Field(ge=1, le=200)
    secure_aggregation: Literal["required"] | None = None
