# SPDX-License-Identifier: Apache-2.0
"""What a job asks of a dataset and a policy lets it have, and whether the dataset has it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cloister.errors import RecordsError
from cloister.jobs import ROLE_KINDS, DatasetRef
from cloister.row_filter import RowFilter, columns_of, mistakes
from cloister.silos import Column, ColumnKind, Dataset

FreeText = Literal["mask", "refuse", "keep"]
"""What is done about free text in which somebody seems to be named: it is masked, the view is refused, or nothing."""

FREE_TEXT = frozenset({ColumnKind.TEXT, ColumnKind.MESSAGES})


@dataclass(frozen=True)
class ViewRequest:
    """What one job's view is to hold.

    Attributes:
        wanted: the job's `dataset`: which columns, which classes, how many records are kept for validation.
        seed: of the split.
        where: the policy's filter; None where it lets every row through.
        free_text: what is done about free text.
    """

    wanted: DatasetRef
    seed: int
    where: RowFilter | None = None
    free_text: FreeText = "mask"

    @property
    def view(self) -> tuple[str, ...]:
        """The view's columns, in the order of their roles."""
        return tuple(column for _, column, _ in self.wanted.columns)

    @property
    def filtered_by(self) -> tuple[str, ...]:
        """The filter's columns, sorted."""
        return () if self.where is None else columns_of(self.where)

    def read(self, dataset: Dataset) -> tuple[str, ...]:
        """Columns that are read from the store: those of the view first, each once."""
        person = () if dataset.person is None else (dataset.person,)
        return tuple(dict.fromkeys((*self.view, *self.filtered_by, *person)))


def check_request(dataset: Dataset, request: ViewRequest, *, name: str) -> None:
    """Check what is asked against what the dataset declares; no record is read.

    Raises:
        RecordsError: where the dataset has no such columns, or other labels.
    """
    wanted = request.wanted
    for role, asked, _ in wanted.columns:
        column = _declared(dataset, asked, role, name)
        if column.kind not in ROLE_KINDS[role]:
            needed = " or ".join(sorted(kind.value for kind in ROLE_KINDS[role]))
            what = f"column `{asked}` of dataset `{name}` is of kind {column.kind.value}, where the job needs {needed}"
            raise RecordsError(what, hint="mend `dataset` in the job")
        if role == "features" and asked in dataset.foreseen and wanted.roles > {role}:  # else it is only described
            raise RecordsError(
                f"column `{asked}` of dataset `{name}` looks past the index event, and no model is given such",
                hint="take it out of `features` in the job; it can be what the model learns to foresee",
            )
    for role in ("label", "target", "event", "mask", "entities"):
        asked = getattr(wanted, role)
        if asked is not None and dataset.label not in (None, asked):
            hint = f"name `{dataset.label}` as `{role}` in the job"
            raise RecordsError(f"dataset `{name}` lets jobs predict `{dataset.label}` and nothing else", hint=hint)
    check_filter(dataset, request.where, name=name)
    if wanted.label is not None:
        _same_labels(dataset.columns[wanted.label], request, name)


def check_filter(dataset: Dataset, where: RowFilter | None, *, name: str) -> None:
    """Check that the policy's filter can be applied to what the dataset declares.

    Raises:
        RecordsError: where it cannot.
    """
    if where is not None:
        for mistake in mistakes(where, dataset.columns):
            raise RecordsError(
                f"the policy's filter of dataset `{name}` cannot be applied: {mistake}",
                hint="mend `rows` and `filter` of the dataset in the site's policy and in the baseline",
            )


def _declared(dataset: Dataset, asked: str, role: str, name: str) -> Column:
    column = dataset.columns.get(asked)
    if column is None:
        open_to_jobs = [known for known, it in dataset.columns.items() if it.kind is not ColumnKind.IDENTIFIER]
        near = difflib.get_close_matches(asked, open_to_jobs, n=1, cutoff=0.5)
        raise RecordsError(
            f"dataset `{name}` declares no column `{asked}`",
            hint=f"nearest is `{near[0]}`" if near else f"it has {_listed(open_to_jobs)}",
        )
    if column.kind is ColumnKind.IDENTIFIER and (role != "person" or asked != dataset.person):
        raise RecordsError(f"column `{asked}` of dataset `{name}` is an identifier, which no job can ask for")
    return column


def _same_labels(column: Column, request: ViewRequest, name: str) -> None:
    here, asked = set(column.values), set(request.wanted.labels)
    if here == asked:
        return
    differences = [f"only here: {_listed(here - asked)}"] if here - asked else []
    differences += [f"only in the job: {_listed(asked - here)}"] if asked - here else []
    label = request.wanted.label
    raise RecordsError(
        f"column `{label}` of dataset `{name}` has other labels than the job ({'; '.join(differences)})",
        hint="job and silo documents must name the same labels",
    )


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in sorted(values))
