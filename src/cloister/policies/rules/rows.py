# SPDX-License-Identifier: Apache-2.0
"""`rows`: the columns by which rows are filtered are ones that the silo declares, and the filter fits them."""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import listed, quoted
from cloister.policies.sections import DatasetGrant
from cloister.row_filter import OneOf, columns_of, mistakes, parse
from cloister.silos import Column, ColumnKind


def judge(check: Check) -> Outcomes:
    """Allow where the site can filter as the policy says; the filter itself is applied when the view is written."""
    grant, name = check.dataset, check.job.dataset.name
    if grant is None:
        return check.not_granted()
    if grant.rows is None and grant.filter is None:
        return check.not_applicable("the policy filters no rows of the dataset")
    dataset = check.silo.datasets.get(name)
    declared = {} if dataset is None else dataset.columns
    place = check.silo_at("datasets", name, "columns")
    refusals = _by_values(check, grant, declared, place)
    filtered_by = list(grant.rows or {})
    if grant.filter is not None:
        condition = parse(grant.filter)
        filtered_by += [column for column in columns_of(condition) if column not in filtered_by]
        for mistake in mistakes(condition, declared):
            message = f"the filter does not fit what {place} declares: {mistake}"
            refusals += check.deny(message, policy=("datasets", name, "filter"), job=("dataset", "name"))
    path: KeyPath = ("datasets", name, "rows" if grant.rows is not None else "filter")
    return refusals or check.allow(f"rows are filtered by {listed(filtered_by)}", policy=path)


def _by_values(check: Check, grant: DatasetGrant, declared: dict[str, Column], place: str) -> Outcomes:
    refusals: Outcomes = ()
    for column, values in (grant.rows or {}).items():
        path: KeyPath = ("datasets", check.job.dataset.name, "rows", column)
        kind = declared[column].kind if column in declared else None
        if kind is not ColumnKind.CATEGORY:
            message = f"rows are filtered by column {quoted(column)}, which {place} does not declare as a category"
            refusals += check.deny(message, policy=path, job=("dataset", "name"))
        else:
            for mistake in mistakes(OneOf(column, values), declared):
                message = f"rows are filtered by what {place} does not declare: {mistake}"
                refusals += check.deny(message, policy=path, job=("dataset", "name"))
    return refusals


RULE = Rule("rows", judge, sections=("datasets",))
