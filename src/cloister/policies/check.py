# SPDX-License-Identifier: Apache-2.0
"""One rule held against one policy document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from cloister.documents import Document, KeyPath
from cloister.jobs import Job
from cloister.policies.decision import Effect, Outcome
from cloister.policies.model import Policy
from cloister.policies.request import Request
from cloister.silos import Silo

Outcomes = tuple[Outcome, ...]


@dataclass(frozen=True)
class Check:
    """What a rule is given, and how it answers.

    A rule is asked twice, for the site's own policy and for the baseline. It answers with one or more outcomes; an
    empty answer is taken as a denial.

    Attributes:
        rule: the rule's id.
        request: what is asked.
        document: the policy document.
        of_baseline: whether that is the baseline; facts of the silo are checked once, with the site's own policy.
        today: the day of the decision.
    """

    rule: str
    request: Request
    document: Document[Policy]
    of_baseline: bool
    today: date

    @property
    def policy(self) -> Policy:
        """What the policy document says."""
        return self.document.value

    @property
    def job(self) -> Job:
        """What the job document says."""
        return self.request.job.value

    @property
    def silo(self) -> Silo:
        """What the silo document says."""
        return self.request.silo.value

    def silo_at(self, *path: str | int) -> str:
        """`file:line` in the silo document."""
        return self.request.silo.source.at(*path)

    def allow(self, message: str, *, policy: KeyPath = (), job: KeyPath | None = None) -> Outcomes:
        """Answer that this rule has nothing against it."""
        return (self._outcome(Effect.ALLOW, message, policy, job),)

    def deny(self, message: str, *, policy: KeyPath = (), job: KeyPath | None = None) -> Outcomes:
        """Answer that this rule forbids it."""
        return (self._outcome(Effect.DENY, message, policy, job),)

    def not_applicable(self, message: str) -> Outcomes:
        """Answer that the rule has nothing to say here."""
        return (Outcome(self.rule, Effect.NOT_APPLICABLE, message),)

    def silent(self, key: str, *, job: KeyPath | None = None) -> Outcomes:
        """Answer for a policy without the section ``key``: a site's denies, the baseline's sets no floor."""
        if self.of_baseline:
            return self.not_applicable(f"the baseline sets no floor with `{key}`")
        return self.deny(f"the policy has no section `{key}`, so it grants nothing here", job=job)

    def _outcome(self, effect: Effect, message: str, policy: KeyPath, job: KeyPath | None) -> Outcome:
        job_at = "" if job is None else self.request.job.source.at(*job)
        return Outcome(self.rule, effect, message, self.document.source.at(*policy), job_at)


@dataclass(frozen=True)
class Rule:
    """One question that every request must pass.

    Attributes:
        id: its name in decisions and in docs/policies.md; its file's name with hyphens.
        judge: answers for one policy document.
    """

    id: str
    judge: Callable[[Check], Outcomes]
