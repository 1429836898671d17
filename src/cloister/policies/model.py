# SPDX-License-Identifier: Apache-2.0
"""The documents `policies/<site>.yaml` and `policies/baseline.yaml`: what may train on the records, what may leave.

1. A site's policy is decided together with the baseline: a job is allowed where both allow it. So a site can only
   tighten what the baseline says, whatever it writes.
2. A section that a site's policy leaves out denies. A section that the baseline leaves out sets no floor.
3. A section that is written is written whole; a key that is written and left empty is a mistake, not a permission.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from cloister.documents import Model
from cloister.names import ColumnName, Line, ModulePath, PersonName, Sha256, Word
from cloister.roster import Role

BASELINE = "baseline"

Metric = Literal["accuracy", "macro_f1", "loss", "train_loss"]
SandboxMode = Literal["required", "unsafe-none"]


class Section(Model):
    """A part of a policy; what is left out and what is left empty are not the same."""

    @field_validator("*")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        # A key whose entries were all commented out must not read as a section that was never written.
        if value is None or value == ():
            raise ValueError("is left empty; fill it, or take the key out")
        return value


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


class DatasetGrant(Section):
    """One dataset that may be trained on.

    Attributes:
        columns: those a job may read; no other is copied into its view.
        minimum_records: a view with fewer records to train on is refused.
        purposes: limits this dataset to some of the policy's purposes; all of them where not given.
    """

    columns: tuple[ColumnName, ...] = Field(max_length=1000)
    minimum_records: int = Field(ge=1, le=10**12)
    purposes: tuple[Word, ...] | None = Field(default=None, max_length=100)


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
    """

    maximum_rank: int = Field(ge=1, le=256)
    targets: tuple[ModulePath, ...] = Field(max_length=100)


class Methods(Section):
    """The ways of training that are granted; one that is not named is denied."""

    lora: LoraGrant | None = None


class TrainingLimits(Section):
    """How much training one job may do here.

    Attributes:
        maximum_rounds: rounds.
        maximum_batch_size: records per optimiser step.
        maximum_steps_per_round: optimiser steps; where not given, a job that counts in steps is denied.
        maximum_epochs_per_round: passes over the records; where not given, a job that counts in epochs is denied.
    """

    maximum_rounds: int = Field(ge=1, le=1000)
    maximum_batch_size: int = Field(ge=1, le=4096)
    maximum_steps_per_round: int | None = Field(default=None, ge=1, le=100_000)
    maximum_epochs_per_round: int | None = Field(default=None, ge=1, le=100)


class MayLeave(Section):
    """What may leave the site in one round, beside the job's adapter: nothing that is not named here.

    Attributes:
        maximum_bytes_per_round: size of everything that leaves in one round, bytes.
        metrics: names of the numbers that may leave.
    """

    maximum_bytes_per_round: int = Field(ge=1, le=10**12)
    metrics: tuple[Metric, ...]


class Aggregation(Section):
    """With whom this site's updates may be averaged.

    Attributes:
        minimum_sites: an average over fewer sites than this is refused, as it would show one site's update.
    """

    minimum_sites: int = Field(ge=1, le=200)


class Policy(Section):
    """The whole document.

    Attributes:
        policy: the site's name, or `baseline`.
        version: raised with every change.
        extends: `baseline` in a site's policy; not given in the baseline itself.
        owner: who answers for it: name and role.
        valid_from: first day on which it counts.
        valid_until: last day on which it counts; after it everything is denied.
        submitters: who may ask.
        purposes: purposes of use that are granted.
        datasets: datasets that are granted, by the name that silo documents give them.
        base_models: base models that are granted.
        methods: ways of training that are granted.
        training: how much training one job may do.
        sandbox: `required`, also where not given; `unsafe-none` runs training code with no isolation at all.
        may_leave: what may leave the site.
        aggregation: with whom its updates may be averaged.
    """

    policy: Word
    version: int = Field(ge=1)
    extends: Literal["baseline"] | None = None
    owner: Line
    valid_from: date
    valid_until: date
    submitters: Submitters | None = None
    purposes: tuple[Word, ...] | None = Field(default=None, max_length=100)
    datasets: dict[Word, DatasetGrant] | None = Field(default=None, min_length=1)
    base_models: tuple[BaseModelGrant, ...] | None = Field(default=None, max_length=100)
    methods: Methods | None = None
    training: TrainingLimits | None = None
    sandbox: SandboxMode | None = None
    may_leave: MayLeave | None = None
    aggregation: Aggregation | None = None

    @property
    def is_baseline(self) -> bool:
        """Whether this is the floor under every site's policy."""
        return self.policy == BASELINE

    @model_validator(mode="after")
    def _sites_extend_the_baseline(self) -> Self:
        if self.is_baseline and self.extends is not None:
            raise ValueError("may not say `extends`, because it is the baseline itself")
        if not self.is_baseline and self.extends is None:
            raise ValueError("must say `extends: baseline`, because it is a site's policy")
        return self

    @model_validator(mode="after")
    def _dates_in_order(self) -> Self:
        if self.valid_until < self.valid_from:
            raise ValueError(f"ends on {self.valid_until}, before it begins on {self.valid_from}")
        return self
