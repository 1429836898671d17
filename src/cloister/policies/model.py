# SPDX-License-Identifier: Apache-2.0
"""The documents `policies/<site>.yaml` and `policies/baseline.yaml`: what may train on the records, what may leave.

1. A site's policy is decided together with the baseline: a job is allowed where both allow it. So a site can only
   tighten what the baseline says, whatever it writes.
2. A section that a site's policy leaves out denies. A section that the baseline leaves out sets no floor.
3. `hours`, `privacy`, `release` and `waivers` are the exceptions: they only restrict, or except, and may be left out.
"""

from __future__ import annotations

from datetime import date
from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from cloister.documents import NEWER_LANGUAGE
from cloister.names import Line, Word
from cloister.policies.sections import (
    Aggregation,
    BaseModelGrant,
    DatasetGrant,
    MayLeave,
    Methods,
    SandboxDemand,
    Section,
    Submitters,
    TrainingLimits,
)
from cloister.policies.terms import Code, Hours, Privacy, Release, Waiver

BASELINE = "baseline"
LANGUAGE = 1


class Policy(Section):
    """The whole document.

    Attributes:
        language: version of the language that it is written in.
        policy: the site's name, or `baseline`.
        version: raised with every change.
        extends: `baseline` in a site's policy; not given in the baseline itself.
        owner: who answers for it: name and role.
        valid_from: first day on which it counts, UTC.
        valid_until: last day on which it counts, UTC; after it everything is denied.
        hours: when jobs may run; at any time where not given.
        submitters: who may ask.
        purposes: purposes of use that are granted.
        datasets: datasets that are granted, by the name that silo documents give them.
        base_models: base models that are granted.
        methods: ways of training that are granted.
        training: how much training one job may do.
        code: training code that jobs may bring; `forbidden`, also where a site's policy does not say.
        sandbox: `required`, also where not given; `unsafe-none` runs training code with no isolation at all.
        may_leave: what may leave the site.
        aggregation: with whom its updates may be averaged.
        privacy: what differential privacy training must keep.
        release: what must hold of a job's result.
        waivers: rules of this document that do not count for a while.
    """

    language: int = Field(default=LANGUAGE, ge=1)
    policy: Word
    version: int = Field(ge=1)
    extends: Literal["baseline"] | None = None
    owner: Line
    valid_from: date
    valid_until: date
    hours: Hours | None = None
    submitters: Submitters | None = None
    purposes: tuple[Word, ...] | None = Field(default=None, max_length=100)
    datasets: dict[Word, DatasetGrant] | None = Field(default=None, min_length=1)
    base_models: tuple[BaseModelGrant, ...] | None = Field(default=None, max_length=100)
    methods: Methods | None = None
    training: TrainingLimits | None = None
    code: Code | None = None
    sandbox: SandboxDemand | None = None
    may_leave: MayLeave | None = None
    aggregation: Aggregation | None = None
    privacy: Privacy | None = None
    release: Release | None = None
    waivers: tuple[Waiver, ...] | None = Field(default=None, max_length=100)

    @property
    def is_baseline(self) -> bool:
        """Whether this is the floor under every site's policy."""
        return self.policy == BASELINE

    @field_validator("language")
    @classmethod
    def _is_known(cls, value: int) -> int:
        if value > LANGUAGE:
            message = f"is written in policy language {value}, and this version of Cloister reads {LANGUAGE}"
            raise PydanticCustomError(NEWER_LANGUAGE, "{message}", {"message": message})
        return value

    @model_validator(mode="after")
    def _sites_extend_the_baseline(self) -> Self:
        if self.is_baseline and self.extends is not None:
            raise ValueError("may not say `extends`, because it is the baseline itself")
        if not self.is_baseline and self.extends is None:
            raise ValueError("must say `extends: baseline`, because it is a site's policy")
        return self

    @field_validator("valid_until")
    @classmethod
    def _dates_in_order(cls, value: date, info: ValidationInfo) -> date:
        begin = info.data.get("valid_from")
        if begin is not None and value < begin:
            raise ValueError(f"is {value}, before `valid_from`, which is {begin}")
        return value
