# SPDX-License-Identifier: Apache-2.0
"""Policies that a person named on the command line."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer

from cloister.errors import UsageError
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
    return tuple(dict.fromkeys(_policy_name(repo, name) for name in names)) if names else tuple(sorted(repo.policies))


def _policy_name(repo: Repository, name: str) -> str:
    files = {(repo.root / document.source.file).resolve(): known for known, document in repo.policies.items()}
    found = (
        name if name in repo.policies else files.get(Path(name).resolve()) or files.get((repo.root / name).resolve())
    )
    if found is None:
        near = difflib.get_close_matches(name, sorted(repo.policies), n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"policies here: {', '.join(sorted(repo.policies))}"
        raise UsageError(f"there is no policy `{name}`", hint=hint)
    return found
