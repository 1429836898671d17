# SPDX-License-Identifier: Apache-2.0
"""What is looked at for a site besides its identity: documents, policy, sandbox, room, base models and datasets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cloister.doctor.base_models import judge_weights, pins_of, read_weights, seconds_for
from cloister.doctor.capacity import ask_memory, judge_memory
from cloister.doctor.codes import Topic
from cloister.doctor.datasets import look_at_dataset
from cloister.doctor.finding import Finding, in_order
from cloister.doctor.here import Here
from cloister.doctor.own import Own
from cloister.doctor.policy import judge_sandbox, look_at_policy
from cloister.doctor.probe import Probe
from cloister.documents import load
from cloister.errors import InvalidDocumentsError
from cloister.jobs import Job
from cloister.repository import SiteDocuments, load_site
from cloister.sandbox import missing

_MOST_PROBLEMS = 10
_SANDBOX_SECONDS = 12.0


def site_probes(here: Here, own: Own) -> Iterator[Probe]:
    """What to look at, in order; each must be looked at before the next is asked for.

    Without valid documents there is nothing but these.
    """
    site = own.identity.name
    seen: list[SiteDocuments] = []

    def read() -> tuple[Finding, ...]:
        try:
            seen.append(load_site(here.root, site))
        except InvalidDocumentsError as error:
            return tuple(_invalid(error))
        return (_valid(seen[0]),)

    yield Probe(Topic.DOCUMENTS, f"the documents of `{site}`", read)
    if not seen:
        return
    (documents,) = seen
    silo, policies = documents.silo, documents.policies
    yield Probe(Topic.POLICY, f"the policy of `{site}`", lambda: _policy(here, own, documents))
    yield Probe(Topic.SANDBOX, "the sandbox", lambda: (judge_sandbox(missing(), policies),), _SANDBOX_SECONDS)
    yield Probe(Topic.CAPACITY, "memory and processors", lambda: judge_memory(ask_memory(), silo.value.capacity))
    for name, place in silo.value.base_models.items():
        yield _base_model(here.root, name, (here.root / place.path).resolve(), documents)
    for name in silo.value.datasets:
        yield _dataset(here.root, documents, name)


def _invalid(error: InvalidDocumentsError) -> Iterator[Finding]:
    for problem in error.problems[:_MOST_PROBLEMS]:
        place = f"{problem.file}:{problem.line}" if problem.line else problem.file
        later = "policy, base models and datasets are looked at once it is mended"
        hint = f"{problem.hint}; {later}" if problem.hint else later
        yield Finding("D1501", f"`{place}`: {problem.message}", hint)


def _valid(documents: SiteDocuments) -> Finding:
    files = (documents.silo, documents.policies.site, documents.policies.baseline)
    return in_order(Topic.DOCUMENTS, f"{', '.join(each.source.file for each in files)} are valid")


def _policy(here: Here, own: Own, documents: SiteDocuments) -> Iterator[Finding]:
    federation = own.federation(here.document)
    yield from look_at_policy(here.root, documents, federation, own.anchors, own.workspace, here.now)


def _base_model(root: Path, name: str, folder: Path, documents: SiteDocuments) -> Probe:
    def look() -> Iterator[Finding]:
        yield judge_weights(read_weights(name, folder), pins_of(name, documents.policies, _jobs(root)))

    return Probe(Topic.BASE_MODELS, f"base model `{name}`", look, seconds_for(folder))


def _jobs(root: Path) -> dict[str, Job]:
    """The jobs that lie here and can be read; one that cannot pins nothing, and `cloister check` tells of it."""
    found: dict[str, Job] = {}
    for path in sorted((root / "jobs").glob("*.yaml")):
        try:
            found[path.stem] = load(path, Job).value
        except InvalidDocumentsError:
            continue
    return found


def _dataset(root: Path, documents: SiteDocuments, name: str) -> Probe:
    return Probe(Topic.DATASETS, f"dataset `{name}`", lambda: look_at_dataset(root, documents.silo, name))
