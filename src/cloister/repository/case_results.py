# SPDX-License-Identifier: Apache-2.0
"""The cases of a repository, put to its own policies."""

from __future__ import annotations

from cloister.errors import Problem
from cloister.policies.coverage import uncovered
from cloister.policies.trial import Result, results, trials
from cloister.repository.model import Repository


def case_results(repo: Repository) -> tuple[Result, ...]:
    """What came of each case at each of its sites."""
    asked = trials(repo.cases, repo.jobs, repo.silos, repo.federation.value)
    return results(asked, repo.policies_of)


def coverage_problems(repo: Repository, names: frozenset[str] = frozenset()) -> list[Problem]:
    """Rules that no case tries of the policies called ``names``, or of every policy."""
    policies = {name: document for name, document in repo.policies.items() if not names or name in names}
    return uncovered(policies, case_results(repo))
