# SPDX-License-Identifier: Apache-2.0
"""The document `jobs/<job>.yaml`: what is trained, on what, how, for which purpose."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from cloister.documents import Model, refuse
from cloister.errors import JobError
from cloister.jobs.aggregation import Aggregation, Calibration
from cloister.jobs.architecture import Architecture
from cloister.jobs.combinations import objections
from cloister.jobs.compression import Compression
from cloister.jobs.dataset import DatasetRef
from cloister.jobs.imaging import Imaging
from cloister.jobs.method import Method
from cloister.jobs.metrics import METRICS, Metric
from cloister.jobs.personal_head import head_may_stay
from cloister.jobs.tasks import FORMS, Task, TaskForm
from cloister.names import Line, Sha256, SiteName, Word


class BaseModelRef(Model):
    """The base model, pinned.

    Attributes:
        name: what sites call it in their silo documents.
        sha256: of its `model.safetensors`.
        licence: SPDX identifier in lower case, as policies list it.
    """

    name: Word
    sha256: Sha256
    licence: Line


Schedule = Literal["constant", "linear"]
"""How learning rates fall over the rounds, see `cloister.training.schedule`."""


class Training(Model):
    """What each site does in one round.

    Attributes:
        steps: optimiser steps per round; give this or `epochs`.
        epochs: passes over the site's training records per round; give this or `steps`.
        batch_size: records per step.
        learning_rate: AdamW's, on the adapter.
        head_learning_rate: AdamW's, on the classification head; `learning_rate` where not given.
        schedule: how both rates fall over the job's rounds.
        weight_decay: AdamW's.
        maximum_tokens: longer texts are cut after this many tokens.
        packing: whether a language model is given several short records in one sequence.
        precision: of the network's arithmetic while training; weights and what leaves are float32 in any case.
        seed: of the initial adapter, the split and the order of records.
    """

    steps: int | None = Field(default=None, ge=1, le=100_000)
    epochs: int | None = Field(default=None, ge=1, le=100)
    batch_size: int = Field(ge=1, le=4096)
    learning_rate: float = Field(gt=0, le=1)
    head_learning_rate: float | None = Field(default=None, gt=0, le=1)
    schedule: Schedule = "constant"
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    maximum_tokens: int = Field(default=128, ge=8, le=8192)
    packing: bool = False
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    seed: int = Field(default=0, ge=0, lt=2**31)

    @model_validator(mode="after")
    def _either_steps_or_epochs(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("needs either `steps` or `epochs`, and not both")
        return self


class FederationPlan(Model):
    """How rounds are run.

    Attributes:
        sites: who is asked; every site whose silo has the dataset where not given.
        rounds: how many; of a job that trains, it must be said.
        minimum_sites: fewer updates than this by the deadline fail the job.
        sites_per_round: so many are drawn for each round, by the job's seed; all are asked where not given.
        enough_sites: a round ends when so many have given their update; all are waited for where not given.
        round_deadline_seconds: updates that come later are not waited for.
    """

    sites: tuple[SiteName, ...] = ()
    rounds: int = Field(default=1, ge=1, le=1000)
    minimum_sites: int = Field(default=2, ge=1, le=200)
    sites_per_round: int | None = Field(default=None, ge=1, le=200)
    enough_sites: int | None = Field(default=None, ge=1, le=200)
    round_deadline_seconds: int = Field(default=600, ge=5, le=7 * 24 * 3600)

    @model_validator(mode="after")
    def _enough_sites(self) -> Self:
        refuse(self._objections())
        return self

    def _objections(self) -> Iterator[str]:
        if len(set(self.sites)) < len(self.sites):
            yield "names a site twice in `sites`"
        for key in ("minimum_sites", "sites_per_round", "enough_sites"):
            value = getattr(self, key)
            if value is None:
                continue
            if self.sites and value > len(self.sites):
                named = "one site" if len(self.sites) == 1 else f"{len(self.sites)} sites"
                yield f"{self._said(key)} is more than the {named} of `federation.sites`"
            if value < self.minimum_sites:
                yield f"{self._said(key)} is less than {self._said('minimum_sites')}".rstrip(",")
        if self.enough_sites is not None and self.enough_sites > (self.sites_per_round or self.enough_sites):
            yield f"`enough_sites: {self.enough_sites}` is more than `sites_per_round: {self.sites_per_round}`"

    def _said(self, key: str) -> str:
        said = f"`{key}: {getattr(self, key)}`"
        return said if key in self.model_fields_set else f"{said}, which holds where the job says nothing,"


def _best_of(data: dict[str, Any]) -> Literal["maximum", "minimum"]:
    return METRICS[data["metric"]].best if "metric" in data else "maximum"


class Selection(Model):
    """Which round's weights are the result.

    Attributes:
        metric: a metric of the validation records, averaged over sites by their number of them.
        mode: whether the largest or the smallest is best; the metric's own where not given.
    """

    metric: Metric
    mode: Literal["maximum", "minimum"] = Field(default_factory=_best_of)

    @model_validator(mode="after")
    def _picks_the_best(self) -> Self:
        best = METRICS[self.metric].best
        if self.mode != best:
            raise ValueError(f"picks the worst round: `{self.metric}` is best at its `{best}`")
        return self


def _selection_of(data: dict[str, Any]) -> Selection | None:
    metrics = FORMS[data["task"]].metrics if "task" in data else ()
    return Selection.model_validate({"metric": metrics[0]}) if metrics else None


# The folders of documents hold documents alone: whoever reviews them never meets a program there.
_DOCUMENT_FOLDERS = frozenset({"jobs", "silos", "policies", "provisioning"})


_CODE_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(/[A-Za-z0-9_][A-Za-z0-9_-]{0,62}){0,7}")


def _code_folder(path: str) -> str:
    if not _CODE_FOLDER.fullmatch(path):
        raise ValueError("must be a folder below the federation's, by plain names, such as code/focal-loss")
    if path.split("/", maxsplit=1)[0] in _DOCUMENT_FOLDERS:
        raise ValueError("lies in a folder of documents, where no code may lie; put it into `code/`")
    return path


CodeFolder = Annotated[str, AfterValidator(_code_folder)]
"""A folder with training code, relative to the federation's folder: plain names, no `..`, not absolute."""


class Job(Model):
    """The whole document.

    Attributes:
        base_model: what is trained, where that is a base model.
        architecture: what is trained, where that is a small network of the job's own.
        imaging: the form that images are brought to; for tasks with images, and needed there.
        method: how it is trained.
        training: what each site does in a round.
        aggregation: how the sites' updates become the next weights.
        compression: in what form values travel.
        select_by: which round is the result; None for a job that trains nothing.
        code: folder of the training code that it brings; the built-in trainer where not given.
    """

    job: Word
    purpose: Word
    task: Annotated[Task, Field(strict=False)]
    base_model: BaseModelRef | None = None
    architecture: Architecture | None = None
    dataset: DatasetRef
    imaging: Imaging | None = None
    method: Method | None = None
    training: Training | None = None
    federation: FederationPlan
    aggregation: Aggregation = Field(default_factory=Aggregation)
    compression: Compression = Field(default_factory=Compression)
    select_by: Selection | None = Field(default_factory=_selection_of)
    code: CodeFolder | None = None

    @property
    def form(self) -> TaskForm:
        """What jobs of this task say and make."""
        return FORMS[self.task]

    @property
    def trains(self) -> bool:
        """Whether it trains anything, rather than describe the records."""
        return self.task is not Task.STATISTICS

    @property
    def plan(self) -> Training:
        """What each site does in a round.

        Raises:
            JobError: for a job that trains nothing.
        """
        if self.training is None:
            raise JobError(f"a job of task {self.task} trains nothing")
        return self.training

    @property
    def way(self) -> Method:
        """How it trains.

        Raises:
            JobError: for a job that trains nothing.
        """
        if self.method is None:
            raise JobError(f"a job of task {self.task} trains nothing")
        return self.method

    @property
    def seed(self) -> int:
        """Of everything that is drawn; 0 where the job trains nothing."""
        return 0 if self.training is None else self.training.seed

    @property
    def parts(self) -> tuple[str, ...]:
        """What an update consists of, in the words of a policy: `adapter` or `model`, and `head`.

        Without a head that may be personal; see `possible_parts`.
        """
        head_stays = head_may_stay(self.task, self.aggregation.personal)
        return tuple(part for part in self.possible_parts if part != "head" or not head_stays)

    @property
    def possible_parts(self) -> tuple[str, ...]:
        """The same, with the head also where only the kind of the base model says whether all of it is personal."""
        if self.method is None:
            return ()
        part = self.method.part
        return (part, "head") if self.form.head and self.base_model is not None else (part,)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        refuse([*self._about_columns(), *(self._about_training() if self.trains else self._about_describing())])
        return self

    def _about_columns(self) -> Iterator[str]:
        form, given = self.form, self.dataset.roles
        if given not in form.roles:
            wanted = " or ".join(_listed(sorted(roles)) for roles in form.roles)
            said = _listed(sorted(given)) if given else "none of them"
            yield f"of task {self.task} needs {wanted} in `dataset`, and gives {said}"
        if form.labels and len(self.dataset.labels) < (1 if "entities" in given else 2):
            yield f"of task {self.task} needs `labels` in `dataset`"
        if not form.labels and self.dataset.labels:
            yield f"of task {self.task} may not give `labels` in `dataset`"

    def _about_describing(self) -> Iterator[str]:
        for key in ("base_model", "architecture", "method", "training", "imaging", "select_by", "code"):
            if getattr(self, key) is not None:
                yield f"of task {self.task} trains nothing and may not give `{key}`"
        for key in ("aggregation", "compression"):
            if key in self.model_fields_set:
                yield f"of task {self.task} trains nothing and may not give `{key}`"
        if self.federation.rounds != 1:
            yield f"of task {self.task} has one round and no more"

    def _about_training(self) -> Iterator[str]:
        if self.dataset.histograms:
            yield f"of task {self.task} may not give `histograms` in `dataset`"
        for key in ("method", "training"):
            if getattr(self, key) is None:
                yield f"of task {self.task} needs `{key}`"
        if "rounds" not in self.federation.model_fields_set:
            yield f"of task {self.task} needs `rounds` in `federation`"
        yield from self._about_network()
        if self.aggregation.client is not None and self.aggregation.client.calibration is not None:
            yield from self._about_calibration(self.aggregation.client.calibration)
        if self.training is not None:
            yield from self._about_settings(self.training)
        if self.method is not None:
            own_code = self.code is not None
            yield from objections(self.method, self.aggregation, self.compression, self.federation, own_code=own_code)

    def _about_network(self) -> Iterator[str]:
        form, images = self.form, "image" in self.dataset.roles
        if self.base_model is not None and not form.base_model:
            yield f"of task {self.task} trains no base model; give an `architecture`"
        if self.architecture is not None and self.architecture.name not in form.networks:
            known = f"one of {_listed(form.networks)}" if form.networks else "none; give a `base_model`"
            yield f"of task {self.task} can train as `architecture` {known}"
        if (self.base_model is None) == (self.architecture is None):
            ways = [*(["base_model"] if form.base_model else []), *(["architecture"] if form.networks else [])]
            yield f"of task {self.task} needs {' or '.join(f'`{way}`' for way in ways)}, and one of them only"
        if self.method is not None:
            packing, base_model = self.training is not None and self.training.packing, self.base_model is not None
            yield from self.method.objections(base_model=base_model, images=images, packing=packing)
        if images != (self.imaging is not None):
            yield f"of task {self.task} {'needs' if images else 'may not give'} `imaging`"
        if self.select_by is not None and self.select_by.metric not in form.metrics:
            asked = f"`select_by.metric: {self.select_by.metric}`"
            yield f"{asked} is none of task {self.task}, which can choose a round by {_listed(form.metrics)}"

    def _about_calibration(self, calibration: Calibration) -> Iterator[str]:
        if not self.form.one_class:
            yield f"of task {self.task} may not give `aggregation.client.calibration`: no record is of one class"
        elif calibration.shares is not None and set(calibration.shares) != set(self.dataset.labels):
            shares = "`aggregation.client.calibration.shares`"
            if lacking := [label for label in self.dataset.labels if label not in calibration.shares]:
                yield f"{shares} lacks {_listed(lacking[:3])} of `dataset.labels`"
            if superfluous := [label for label in calibration.shares if label not in self.dataset.labels]:
                yield f"{shares} has {_listed(superfluous[:3])}, which `dataset.labels` does not name"
        if self.form.head and head_may_stay(self.task, self.aggregation.personal):
            yield (
                "`aggregation.client.calibration` is for a head that all sites share, and `aggregation.personal` keeps "
                "it at the sites, to fit how often classes come there"
            )

    def _about_settings(self, training: Training) -> Iterator[str]:
        if training.packing and self.task is not Task.CAUSAL_LANGUAGE_MODELLING:
            yield f"of task {self.task} may not give `packing` in `training`"
        if training.head_learning_rate is not None and not (self.form.head or self.form.statistics):
            yield f"of task {self.task} has no head, and may not give `head_learning_rate` in `training`"


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)
