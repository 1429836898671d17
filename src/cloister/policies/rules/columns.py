# SPDX-License-Identifier: Apache-2.0
"""`columns`: every column that the job reads is granted, exists, names nobody, and holds the job's labels.

None that a network is given tells what came after the moment at which it would be asked.
"""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import listed, quoted
from cloister.silos import Column, ColumnKind


def judge(check: Check) -> Outcomes:
    """Allow where every column passes, and the job's labels are the declared values, in any order."""
    granted, asked = check.policy.datasets, check.job.dataset
    if granted is None:
        return check.silent("datasets", job=("dataset",))
    grant = granted.get(asked.name)
    if grant is None:
        message = f"no column of dataset {quoted(asked.name)} is granted"
        return check.deny(message, policy=("datasets",), job=("dataset", "name"))
    path: KeyPath = ("datasets", asked.name, "columns")
    refusals: Outcomes = ()
    for _, column, key in asked.columns:
        if column not in grant.columns:
            message = f"column {quoted(column)} is not among the granted columns: {listed(grant.columns) or 'none'}"
            refusals += check.deny(message, policy=path, job=("dataset", *key))
    if not check.of_baseline:
        refusals += _against_silo(check, path)
    allowed = f"columns {listed([column for _, column, _ in asked.columns])} are granted"
    return refusals or check.allow(allowed, policy=path, job=("dataset",))


def _against_silo(check: Check, path: KeyPath) -> Outcomes:
    asked = check.job.dataset
    dataset = check.silo.datasets.get(asked.name)
    declared: dict[str, Column] = {} if dataset is None else dataset.columns
    person = None if dataset is None else dataset.person
    refusals: Outcomes = ()
    for role, name, key in asked.columns:
        column = declared.get(name)
        if column is None:
            message = f"{check.silo_at('datasets', asked.name, 'columns')} has no column {quoted(name)}"
            refusals += check.deny(message, policy=path, job=("dataset", *key))
        elif role == "person" and name != person:
            place = check.silo_at("datasets", asked.name)
            message = f"column {quoted(name)} is not the one by which {place} tells people apart"
            refusals += check.deny(message, policy=path, job=("dataset", *key))
        elif role != "person" and column.kind is ColumnKind.IDENTIFIER:
            message = f"column {quoted(name)} is an identifier, and no job may read one"
            refusals += check.deny(message, policy=path, job=("dataset", *key))
        elif role == "features" and check.job.trains and dataset is not None and name in dataset.foreseen:
            message = f"column {quoted(name)} looks past the index event, and no network may be given such"
            refusals += check.deny(message, policy=path, job=("dataset", *key))
    label = None if asked.label is None else declared.get(asked.label)
    if asked.label is not None and label is not None and set(label.values) != set(asked.labels):
        place = check.silo_at("datasets", asked.name, "columns", asked.label)
        message = f"the job's labels are not the values of column {quoted(asked.label)} that {place} declares"
        refusals += check.deny(message, policy=path, job=("dataset", "labels"))
    return refusals


RULE = Rule("columns", judge, sections=("datasets",))
