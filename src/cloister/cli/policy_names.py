# SPDX-License-Identifier: Apache-2.0
"""Policies that a person named on the command line."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer

from cloister.documents import Document
from cloister.errors import UsageError
from cloister.policies import Policy
from cloister.repository import Repository

NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="A site, or `baseline`; every policy where none is given.")
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A site, or `baseline`; or the policy's file.")]


def policy_names(repo: Repository, names: list[str] | None) -> tuple[str, ...]:
    """The policies that ``names`` are, by name or file; all of them where there are none.

    Raises:
        UsageError: where there is no such policy.
    """
    if not names:
        return tuple(sorted(repo.policies))
    return tuple(dict.fromkeys(policy_of(repo, name).value.policy for name in names))


def policy_of(repo: Repository, name: str) -> Document[Policy]:
    """The policy called ``name``, a site's or the baseline; or the one whose file that is.

    Raises:
        UsageError: where there is none.
    """
    files = {(repo.root / document.source.file).resolve(): known for known, document in repo.policies.items()}
    found = (
        name if name in repo.policies else files.get(Path(name).resolve()) or files.get((repo.root / name).resolve())
    )
    if found is None:
        near = difflib.get_close_matches(name, sorted(repo.policies), n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"policies here: {', '.join(sorted(repo.policies))}"
        raise UsageError(f"there is no policy `{name}`", hint=hint)
    return repo.policies[found]
