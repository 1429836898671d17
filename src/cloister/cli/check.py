# SPDX-License-Identifier: Apache-2.0
"""`cloister check`: are all documents of the federation what they should be?"""

from __future__ import annotations

from pathlib import Path

from cloister.cli.options import FolderOption, JsonOption, output, repository
from cloister.errors import InvalidDocumentsError
from cloister.repository import coverage_problems


def check(folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Validate the documents of all four folders.

    Also what they say of each other, and whether a case tries each rule of each policy. Starts nothing.
    """
    del as_json
    repo = repository(folder)
    if problems := coverage_problems(repo):
        raise InvalidDocumentsError(problems)
    out = output()
    counts = {"silos": len(repo.silos), "jobs": len(repo.jobs), "policies": len(repo.policies)}
    counts["cases"] = sum(len(document.value.cases) for document in repo.cases.values())
    out.say(
        f"{repo.federation.value.federation}: " + ", ".join(f"{n} {name}" for name, n in counts.items()) + ", all valid"
    )
    out.result({"federation": repo.federation.value.federation, "valid": True, **counts})
