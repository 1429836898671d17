# SPDX-License-Identifier: Apache-2.0
"""The document `jobs/<job>.yaml`: what is trained, on what, how, for which purpose."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from cloister.documents import Model
from cloister.names import ColumnName, Line, ModulePath, Sha256, SiteName, Word


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


class DatasetRef(Model):
    """The records asked for.

    Attributes:
        name: what sites call the dataset in their silo documents.
        text: column with the text.
        label: column with the class.
        labels: the classes, in the order of their numbers; every site must list the same.
        validation_share: share of each site's records kept from training for its own measurements; not so
            small that one could know which records those are.
    """

    name: Word
    text: ColumnName
    label: ColumnName
    labels: tuple[Line, ...] = Field(min_length=2, max_length=1000)
    validation_share: float = Field(default=0.2, ge=0.05, lt=0.9)

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("lists a label twice in `labels`")
        if self.text == self.label:
            raise ValueError("names one column as both `text` and `label`")
        return self


class Lora(Model):
    """Low-rank adaptation (Hu et al., https://arxiv.org/abs/2106.09685).

    Attributes:
        rank: r, the inner dimension of each pair of factors.
        alpha: the update is scaled by alpha / rank.
        dropout: on the adapter's input while training.
        targets: names of the linear layers that are adapted, matched at the end of the layer's path.
    """

    rank: int = Field(ge=1, le=256)
    alpha: int = Field(ge=1, le=1024)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[ModulePath, ...] = Field(min_length=1, max_length=32)


class Method(Model):
    """How the base model is adapted."""

    lora: Lora


class Training(Model):
    """What each site does in one round.

    Attributes:
        steps: optimiser steps per round; give this or `epochs`.
        epochs: passes over the site's training records per round; give this or `steps`.
        batch_size: records per step.
        learning_rate: AdamW's, on the adapter.
        head_learning_rate: AdamW's, on the classification head; `learning_rate` where not given.
        weight_decay: AdamW's.
        maximum_tokens: longer texts are cut after this many tokens.
        seed: of the initial adapter, the split and the order of records.
    """

    steps: int | None = Field(default=None, ge=1, le=100_000)
    epochs: int | None = Field(default=None, ge=1, le=100)
    batch_size: int = Field(ge=1, le=4096)
    learning_rate: float = Field(gt=0, le=1)
    head_learning_rate: float | None = Field(default=None, gt=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    maximum_tokens: int = Field(default=128, ge=8, le=8192)
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
        rounds: how many.
        minimum_sites: fewer updates than this by the deadline fail the job.
        round_deadline_seconds: updates that come later are not waited for.
    """

    sites: tuple[SiteName, ...] = ()
    rounds: int = Field(ge=1, le=1000)
    minimum_sites: int = Field(default=2, ge=1, le=200)
    round_deadline_seconds: int = Field(default=600, ge=5, le=7 * 24 * 3600)

    @model_validator(mode="after")
    def _enough_sites(self) -> Self:
        if len(set(self.sites)) < len(self.sites):
            raise ValueError("names a site twice in `sites`")
        if self.sites and len(self.sites) < self.minimum_sites:
            raise ValueError(f"asks {len(self.sites)} sites yet needs `minimum_sites: {self.minimum_sites}`")
        return self


class Selection(Model):
    """Which round's adapter is the result.

    Attributes:
        metric: a metric of the validation records, averaged over sites by their number of them.
        mode: whether the largest or the smallest is best.
    """

    metric: Literal["accuracy", "macro_f1", "loss"] = "accuracy"
    mode: Literal["maximum", "minimum"] = "maximum"

    @model_validator(mode="after")
    def _loss_is_minimised(self) -> Self:
        if (self.metric == "loss") != (self.mode == "minimum"):
            raise ValueError("picks the worst round: loss is best at its `minimum`, the others at their `maximum`")
        return self


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
        code: folder of the training code that it brings; the built-in trainer where not given.
    """

    job: Word
    purpose: Word
    task: Literal["text-classification"]
    base_model: BaseModelRef
    dataset: DatasetRef
    method: Method
    training: Training
    federation: FederationPlan
    select_by: Selection = Selection()
    code: CodeFolder | None = None
