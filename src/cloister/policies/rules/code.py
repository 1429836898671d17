# SPDX-License-Identifier: Apache-2.0
"""`code`: training code that the job brings was approved, word for word, and the approval still holds."""

from __future__ import annotations

from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.decision import quoted
from cloister.policies.terms import CodeGrant

_ASKED = ("code",)


def judge(check: Check) -> Outcomes:
    """Allow code whose digest stands under `code.approved`, up to and including the last day there, in a sandbox."""
    digest, granted = check.request.code, check.policy.code
    if digest is None:
        return check.not_applicable("the job brings no code of its own")
    if granted is None and check.of_baseline:
        return check.silent("code")
    if not isinstance(granted, CodeGrant):
        said = "forbids" if granted else "has no section `code`, which forbids"
        message = f"the {_whose(check)} {said} code that jobs bring{_way_out(check)}"
        return check.deny(message, policy=("code",), job=_ASKED)
    if check.policy.sandbox == "unsafe-none" and not check.of_baseline:
        message = "the policy runs training code with no sandbox, where no job's own code may run, approved or not"
        return check.deny(message, policy=("sandbox",), job=_ASKED)
    return _approved(check, digest, granted)


def _approved(check: Check, digest: str, granted: CodeGrant) -> Outcomes:
    same = [index for index, entry in enumerate(granted.approved) if entry.sha256 == digest]
    if not same:
        message = f"code {quoted(digest)} is not approved{_way_out(check)}"
        return check.deny(message, policy=("code", "approved"), job=_ASKED)
    latest = max(same, key=lambda index: granted.approved[index].until)
    entry, path = granted.approved[latest], ("code", "approved", latest)
    if check.today > entry.until:
        message = f"the approval of code {quoted(digest)} ended on {entry.until}{_way_out(check)}"
        return check.deny(message, policy=(*path, "until"), job=_ASKED)
    return check.allow(f"code {quoted(digest)} is approved until {entry.until}", policy=path, job=_ASKED)


def _whose(check: Check) -> str:
    return "baseline" if check.of_baseline else "policy"


def _way_out(check: Check) -> str:
    if check.of_baseline:
        return ""
    # Job and site are names of documents, which hold no character that a shell would read.
    command = f"cloister policy approve-code {check.job.job} --site {check.request.site} --until DATE"
    return f"; whoever owns the policy approves it with `{command}`"


RULE = Rule("code", judge, sections=("code",))
