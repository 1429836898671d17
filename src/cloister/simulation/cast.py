# SPDX-License-Identifier: Apache-2.0
"""Which sites a simulation has: the job's own, or so many copies of them under names of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cloister.documents import Document
from cloister.errors import UsageError
from cloister.jobs import FederationPlan, Job
from cloister.policies import Policies
from cloister.repository import Repository, SiteDocuments

_LONGEST_NAME = 63


@dataclass(frozen=True)
class SimulatedSite:
    """One site of a simulation.

    Attributes:
        name: in the simulation.
        origin: the site whose records it has, or has a share of.
        documents: silo and policies. A copy's are the very files of ``origin``, read as if they bore its name, so that
            a refusal names file and line.
        number: which of the copies of ``origin`` it is, from 0.
        copies: how many copies of ``origin`` there are; 1 where it is that site itself.
    """

    name: str
    origin: str
    documents: SiteDocuments
    number: int = 0
    copies: int = 1


@dataclass(frozen=True)
class Cast:
    """Job and sites of a simulation.

    Attributes:
        document: the job; where sites are copies, it asks those and is in all else the document that lies here.
        sites: sorted by name.
    """

    document: Document[Job]
    sites: tuple[SimulatedSite, ...]


def cast_of(repo: Repository, document: Document[Job], count: int | None = None) -> Cast:
    """The cast of a simulation.

    Args:
        repo: the documents.
        document: the job.
        count: how many sites; the job's own where it is None.

    Raises:
        UsageError: where the documents that are needed are not here, or the job cannot have so many sites.
    """
    asked = repo.sites_of(document.value)
    here = {site: _documents(repo, site) for site in asked if site in repo.silos_with_policy()}
    if not here:
        hint = "a simulation needs silo and policy of the sites, and their records"
        raise UsageError("no site that the job asks has its documents in this folder", hint=hint)
    if count is None:
        if missing := [site for site in asked if site not in here]:
            hint = "with --sites N, copies of the sites that are here take part"
            raise UsageError(f"the documents of `{missing[0]}` are not in this folder", hint=hint)
        return Cast(document, tuple(SimulatedSite(site, site, here[site]) for site in sorted(here)))
    return _copied(document, here, count)


def _copied(document: Document[Job], here: dict[str, SiteDocuments], count: int) -> Cast:
    plan, origins = document.value.federation, sorted(here)
    least = max(plan.minimum_sites, plan.sites_per_round or 1, plan.enough_sites or 1)
    if count < least:
        hint = "see `minimum_sites`, `sites_per_round` and `enough_sites` under `federation` in the job"
        raise UsageError(f"the job needs {least} sites or more, and --sites says {count}", hint=hint)
    sites: list[SimulatedSite] = []
    for place, origin in enumerate(origins):
        copies = count // len(origins) + (place < count % len(origins))
        for number in range(copies):
            name = f"{origin}-{number + 1:03d}"
            if len(name) > _LONGEST_NAME:
                raise UsageError(f"`{origin}` is too long a name for copies of it, such as `{name}`")
            sites.append(SimulatedSite(name, origin, _renamed(here[origin], name), number, copies))
    names = tuple(sorted(site.name for site in sites))
    asked = FederationPlan(**{**dict(plan), "sites": names})
    job = document.value.model_copy(update={"federation": asked})
    return Cast(replace(document, value=job), tuple(sorted(sites, key=lambda site: site.name)))


def _documents(repo: Repository, site: str) -> SiteDocuments:
    return SiteDocuments(repo.silos[site], repo.policies_of(site))


def _renamed(documents: SiteDocuments, name: str) -> SiteDocuments:
    silo, policy = documents.silo, documents.policies.site
    return SiteDocuments(
        replace(silo, value=silo.value.model_copy(update={"site": name})),
        Policies(replace(policy, value=policy.value.model_copy(update={"policy": name})), documents.policies.baseline),
    )
