# SPDX-License-Identifier: Apache-2.0
"""`cloister check`: are all documents of the federation what they should be?"""

from __future__ import annotations

from pathlib import Path

from cloister.cli.options import FolderOption, JsonOption, output, repository
from cloister.errors import InvalidDocumentsError
from cloister.policies import BASELINE
from cloister.repository import Repository, coverage_problems
from cloister.repository.sites_here import sites_here


def check(folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Validate the documents of all four folders.

    Also what they say of each other, and whether a case tries each rule of each policy. Starts nothing.
    """
    del as_json
    repo = repository(folder)
    out = output()
    if tried := _tried_here(repo):
        if problems := coverage_problems(repo, tried):
            raise InvalidDocumentsError(problems)
    elif repo.policies:
        out.say("no case can be put to a policy here: whether each rule is tried is known where policies are signed")
    counts = {"silos": len(repo.silos), "jobs": len(repo.jobs), "policies": len(repo.policies)}
    counts["cases"] = sum(len(document.value.cases) for document in repo.cases.values())
    out.say(
        f"{repo.federation.value.federation}: " + ", ".join(f"{n} {name}" for name, n in counts.items()) + ", all valid"
    )
    out.say(
        "whether a site's policy lets a job in, for whom, for which purpose and with which method, is not asked here: "
        "cloister job explain JOB"
    )
    out.result({"federation": repo.federation.value.federation, "valid": True, **counts})


def _tried_here(repo: Repository) -> frozenset[str]:
    """The policies whose rules cases must try: all of a whole federation's, and of those here where it is a part.

    A site's machine may be given the signed policy alone; cases are its officer's.
    """
    here = sites_here(repo.root)
    if here is None or here >= {site.name for site in repo.federation.value.sites}:
        return frozenset(repo.policies)
    sites = frozenset(repo.silos_with_policy())
    return sites | (repo.policies.keys() & {BASELINE}) if repo.cases and sites else frozenset()
