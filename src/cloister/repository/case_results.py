# SPDX-License-Identifier: Apache-2.0
"""The cases of a repository, put to its own policies."""

from __future__ import annotations

from cloister.documents import Document
from cloister.errors import Problem
from cloister.policies import Policy
from cloister.policies.coverage import uncovered
from cloister.policies.failures import failures
from cloister.policies.trial import Result, results, trials
from cloister.repository.model import Repository


def case_results(repo: Repository) -> tuple[Result, ...]:
    """What came of each case at each of its sites."""
    asked = trials(repo.cases, repo.jobs, repo.silos_with_policy(), repo.federation.value)
    return results(asked, repo.policies_of)


def failed_cases(repo: Repository, names: frozenset[str] = frozenset()) -> list[Problem]:
    """Cases that do not hold, one problem for each of the policies called ``names``, or of every policy."""
    return failures(_policies(repo, names), case_results(repo))


def coverage_problems(repo: Repository, names: frozenset[str] = frozenset()) -> list[Problem]:
    """What cases show to be wrong with the policies called ``names``, or with every policy.

    Cases that do not hold, and rules for which there is no case at all.
    """
    policies, results = _policies(repo, names), case_results(repo)
    return [*failures(policies, results), *uncovered(policies, results)]


def _policies(repo: Repository, names: frozenset[str]) -> dict[str, Document[Policy]]:
    return {name: document for name, document in repo.policies.items() if not names or name in names}
