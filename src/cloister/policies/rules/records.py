# SPDX-License-Identifier: Apache-2.0
"""`records`: the view holds enough records, to train on and to measure on, that no single one stands out.

Those kept for validation are counted by themselves: the job chooses their share, and could leave a single one to train
on, or a single one to measure on, whose metrics would tell whether it is there and with which class.
"""

from __future__ import annotations

from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.request import ViewFacts
from cloister.policies.sections import MINIMUM_VALIDATION_RECORDS, DatasetGrant


def judge(check: Check) -> Outcomes:
    """Allow `minimum_records` or more to train on, of `minimum_people` or more.

    Allow `minimum_validation_records` or more, or none, to measure on.

    Before the view is written there is nothing to count.
    """
    view = check.request.view
    if view is None:
        return check.not_applicable("is checked when the view is written")
    grant = check.dataset
    if grant is None:
        return check.not_granted()
    path = ("datasets", check.job.dataset.name, "minimum_records")
    refusals: Outcomes = ()
    if view.records < grant.minimum_records:
        message = f"the view holds {view.records} records to train on and needs {grant.minimum_records}"
        refusals += check.deny(message, policy=path, job=("dataset", "name"))
    refusals += _people(check, grant, view)
    refusals += _validation(check, grant, view)
    return refusals or check.allow(f"the view holds {grant.minimum_records} records to train on or more", policy=path)


def _people(check: Check, grant: DatasetGrant, view: ViewFacts) -> Outcomes:
    least = grant.minimum_people
    if least is None or (view.people is not None and view.people >= least):
        return ()
    path = ("datasets", check.job.dataset.name, "minimum_people")
    if view.people is None:
        message = f"the dataset says of nobody whom a record is about, and {least} people are needed"
        return check.deny(message, policy=path, job=("dataset", "name"))
    message = f"the records to train on are of fewer than {least} people"
    return check.deny(message, policy=path, job=("dataset", "name"))


def _validation(check: Check, grant: DatasetGrant, view: ViewFacts) -> Outcomes:
    least, path = grant.minimum_validation_records, ("datasets", check.job.dataset.name)
    if least is None and check.of_baseline:
        return ()
    needed = MINIMUM_VALIDATION_RECORDS if least is None else least
    if view.validation == 0 or view.validation >= needed:
        return ()
    message, job_at = f"the view keeps fewer than {needed} records for validation", ("dataset", "validation_share")
    if least is None:
        message += ", and the policy states no `minimum_validation_records`"
        return check.unstated(message, policy=path, job=job_at)
    return check.deny(message, policy=(*path, "minimum_validation_records"), job=job_at)


RULE = Rule("records", judge, sections=("datasets",), waivable=True)
