# SPDX-License-Identifier: Apache-2.0
"""Reads the four folders: every mistake of every file at once, or documents that agree with each other.

A document's file bears the name that the document gives itself (`silos/<site>.yaml`, `policies/<site>.yaml`,
`jobs/<job>.yaml`), so that nobody reviews one file while another one counts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

from cloister.documents import Document, T, load
from cloister.errors import InvalidDocumentsError, Problem, UsageError
from cloister.jobs import Job
from cloister.policies import BASELINE, Policies, Policy
from cloister.policies.cases import CASES, Cases
from cloister.repository.case_references import case_problems
from cloister.repository.job_code import code_problems
from cloister.repository.model import Repository, SiteDocuments
from cloister.repository.references import Folder, Folders, disagreements
from cloister.repository.sites_here import sites_here
from cloister.roster import ROSTER, Federation
from cloister.silos import Silo


def find_root(start: Path) -> Path:
    """The nearest folder at or above ``start`` that holds `provisioning/federation.yaml`.

    Raises:
        UsageError: when there is none.
    """
    here = start.resolve()
    for folder in (here, *here.parents):
        if (folder / ROSTER).is_file():
            return folder
    hint = f"go to the folder that holds `{ROSTER}`, or name it with --folder"
    raise UsageError(f"`{start}` is not inside a federation's folder", hint=hint)


def load_repository(root: Path, copies: int | None = None) -> Repository:
    """Read every document under ``root``.

    Args:
        root: the federation's folder.
        copies: how many sites jobs may count on in a simulation; those of the folder where nothing is said.

    Raises:
        InvalidDocumentsError: with every problem of every file, and of the files with each other.
    """
    problems: list[Problem] = []
    federation = _load(root, root / ROSTER, Federation, problems)
    folders = Folders(
        federation=federation,
        silos=_folder(root, "silos", Silo, lambda silo: silo.site, problems),
        jobs=_folder(root, "jobs", Job, lambda job: job.job, problems),
        policies=_folder(root, "policies", Policy, lambda policy: policy.policy, problems),
        sites_here=sites_here(root),
        copies=copies,
    )
    for path in _documents(root, "provisioning", problems):
        if path != root / ROSTER:
            problems.append(Problem(_shown(root, path), 0, "is not a document that is read", f"only `{ROSTER}` is"))
    problems += disagreements(folders)
    problems += code_problems(root, folders.jobs.documents.values())
    cases = _cases(root, problems)
    problems += case_problems(cases, folders)
    if problems or federation is None:
        raise InvalidDocumentsError(problems)
    return Repository(
        root=root,
        federation=federation,
        silos=MappingProxyType(folders.silos.documents),
        jobs=MappingProxyType(folders.jobs.documents),
        policies=MappingProxyType(folders.policies.documents),
        cases=MappingProxyType(cases),
    )


def load_site(root: Path, site: str) -> SiteDocuments:
    """Read what a process of ``site`` needs: its silo, its policy and the baseline, as they are on disk now.

    Raises:
        InvalidDocumentsError: when one of them is missing, there twice, or invalid.
    """
    problems: list[Problem] = []
    silo = _one(root, "silos", site, Silo, problems)
    policy = _one(root, "policies", site, Policy, problems)
    baseline = _one(root, "policies", BASELINE, Policy, problems)
    for document, name, said in (
        (silo, site, silo and silo.value.site),
        (policy, site, policy and policy.value.policy),
        (baseline, BASELINE, baseline and baseline.value.policy),
    ):
        if document is not None and said != name:
            problems.append(_misnamed(document.source.file, 0, str(said)))
    if problems or silo is None or policy is None or baseline is None:
        raise InvalidDocumentsError(problems)
    return SiteDocuments(silo, Policies(policy, baseline))


def _shown(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _misnamed(file: str, line: int, name: str) -> Problem:
    hint = f"rename the file to `{name}.yaml`, or correct the name"
    return Problem(file, line, f"is named otherwise than the `{name}` it holds", hint)


def _load(root: Path, path: Path, model: type[T], problems: list[Problem]) -> Document[T] | None:
    try:
        return load(path, model, name=_shown(root, path))
    except InvalidDocumentsError as error:
        problems += error.problems
        return None


def _documents(root: Path, folder: str, problems: list[Problem]) -> list[Path]:
    """The YAML files below ``folder``, in a fixed order; those with another ending are problems."""
    inside = root / folder
    found = [path for path in sorted(inside.rglob("*")) if path.suffix.lower() in (".yaml", ".yml")]
    if inside != root / CASES:
        found = [path for path in found if not path.is_relative_to(root / CASES)]
    for path in found:
        if path.suffix != ".yaml":
            hint = f"rename it to `{path.stem}.yaml`; it is not read as it is"
            problems.append(Problem(_shown(root, path), 0, f"ends in `{path.suffix}`", hint))
    return [path for path in found if path.suffix == ".yaml"]


def _folder(root: Path, name: str, model: type[T], name_of: Callable[[T], str], problems: list[Problem]) -> Folder[T]:
    documents: dict[str, Document[T]] = {}
    unread: set[str] = set()
    key = "site" if name == "silos" else "policy" if name == "policies" else "job"
    for path in _documents(root, name, problems):
        document = _load(root, path, model, problems)
        if document is None:
            unread.add(path.stem)
            continue
        named, line = name_of(document.value), document.source.line((key,))
        if named != path.stem:
            problems.append(_misnamed(document.source.file, line, named))
        if named in documents:
            hint = f"the other is {documents[named].source.at(key)}; keep one"
            problems.append(Problem(document.source.file, line, f"is a second document for `{named}`", hint))
            continue
        documents[named] = document
    return Folder(documents, frozenset(unread))


def _cases(root: Path, problems: list[Problem]) -> dict[str, Document[Cases]]:
    """The cases by the rule that their file is named after; a case carries no name of its own to compare that with."""
    documents: dict[str, Document[Cases]] = {}
    for path in _documents(root, CASES, problems):
        document = _load(root, path, Cases, problems)
        if document is None:
            continue
        if path.stem in documents:
            hint = f"the other is {documents[path.stem].source.file}; keep one"
            problems.append(Problem(document.source.file, 0, f"is a second file for the rule `{path.stem}`", hint))
            continue
        documents[path.stem] = document
    return documents


def _one(root: Path, folder: str, name: str, model: type[T], problems: list[Problem]) -> Document[T] | None:
    found = [
        path
        for path in sorted((root / folder).rglob("*.yaml"))
        if path.stem == name and not path.is_relative_to(root / CASES)
    ]
    if len(found) == 1:
        return _load(root, found[0], model, problems)
    if not found:
        problems.append(Problem(f"{folder}/{name}.yaml", 0, "is missing"))
    for path in found[1:]:
        hint = f"the other is {_shown(root, found[0])}; keep one"
        problems.append(Problem(_shown(root, path), 0, f"is a second document for `{name}`", hint))
    return None
