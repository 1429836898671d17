# SPDX-License-Identifier: Apache-2.0
"""`free-text`: the policy says what is done about free text in which somebody seems to be named, and it was done.

What is found are patterns such as telephone numbers; docs/records.md says how many of them, and what is not found.
"""

from __future__ import annotations

from cloister.documents import KeyPath
from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import listed, quoted
from cloister.silos import ColumnKind

_FREE_TEXT = frozenset({ColumnKind.TEXT, ColumnKind.MESSAGES})


def judge(check: Check) -> Outcomes:
    """Allow where the policy says `mask` or `keep`; where it says `refuse`, as long as nothing is found in the view."""
    grant, name = check.dataset, check.job.dataset.name
    if grant is None:
        return check.not_granted()
    read = _free_text(check)
    if not read:
        return check.not_applicable("the job reads no free text")
    path: KeyPath = ("datasets", name, "free_text")
    if grant.free_text is None:
        if check.of_baseline:
            return check.not_applicable("the baseline says nothing about free text")
        message = f"the job reads free text, {listed(read)}, and the policy states no `free_text`"
        return check.deny(message, policy=path[:2], job=("dataset",))
    found = {} if check.request.view is None else check.request.view.identifying
    named = [column for column in read if found.get(column, 0) != 0]
    if grant.free_text == "refuse" and named:
        # How many stays unsaid: it is the records' to tell, and a refusal leaves the site.
        message = f"somebody seems to be named in texts of {listed(named)}"
        return check.deny(message, policy=path, job=("dataset",))
    return check.allow(f"free text is dealt with: {quoted(grant.free_text)}", policy=path, job=("dataset",))


def _free_text(check: Check) -> list[str]:
    dataset = check.silo.datasets.get(check.job.dataset.name)
    declared = {} if dataset is None else dataset.columns
    names = [column for _, column, _ in check.job.dataset.columns]
    return [name for name in names if name in declared and declared[name].kind in _FREE_TEXT]


RULE = Rule("free-text", judge, sections=("datasets",))
