# SPDX-License-Identifier: Apache-2.0
"""`rows`: the columns by which rows are filtered are categories that the silo declares."""

from __future__ import annotations

from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import listed, quoted
from cloister.silos import ColumnKind


def judge(check: Check) -> Outcomes:
    """Allow where the site can filter as the policy says; the filter itself is applied when the view is written."""
    grant, name = check.dataset, check.job.dataset.name
    if grant is None:
        return check.not_granted()
    if grant.rows is None:
        return check.not_applicable("the policy filters no rows of the dataset")
    dataset = check.silo.datasets.get(name)
    declared = {} if dataset is None else dataset.columns
    refusals: Outcomes = ()
    for column in grant.rows:
        kind = declared[column].kind if column in declared else None
        if kind is not ColumnKind.CATEGORY:
            place = check.silo_at("datasets", name, "columns")
            message = f"rows are filtered by column {quoted(column)}, which {place} does not declare as a category"
            refusals += check.deny(message, policy=("datasets", name, "rows", column), job=("dataset", "name"))
    path = ("datasets", name, "rows")
    return refusals or check.allow(f"rows are filtered by {listed(list(grant.rows))}", policy=path)


RULE = Rule("rows", judge, sections=("datasets",))
