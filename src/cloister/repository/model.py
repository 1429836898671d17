# SPDX-License-Identifier: Apache-2.0
"""The four folders of documents as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cloister.documents import Document
from cloister.errors import UsageError
from cloister.jobs import Job
from cloister.policies import BASELINE, Policies, Policy
from cloister.policies.cases import Cases
from cloister.roster import Federation
from cloister.silos import Silo


@dataclass(frozen=True)
class Repository:
    """Documents that are valid, and agree with each other.

    Attributes:
        root: the folder that holds the four folders.
        federation: the roster.
        silos: by site.
        jobs: by the job's name.
        policies: by site, and the baseline under `baseline`.
        cases: by the rule that their file is named after.
    """

    root: Path
    federation: Document[Federation]
    silos: Mapping[str, Document[Silo]]
    jobs: Mapping[str, Document[Job]]
    policies: Mapping[str, Document[Policy]]
    cases: Mapping[str, Document[Cases]] = field(default_factory=dict)

    def policies_of(self, site: str) -> Policies:
        """The two policies that count at ``site``.

        Raises:
            UsageError: when there is no such site.
        """
        if site == BASELINE or site not in self.policies:
            raise UsageError(f"site `{site}` has no policy", hint=f"write `policies/{site}.yaml`")
        if BASELINE not in self.policies:
            raise UsageError("there is no baseline policy here", hint=f"write `policies/{BASELINE}.yaml`")
        return Policies(self.policies[site], self.policies[BASELINE])

    def silos_with_policy(self) -> Mapping[str, Document[Silo]]:
        """The silos of the sites that can be asked here: those whose policy is in the folder as well."""
        return {site: silo for site, silo in self.silos.items() if site in self.policies}

    def sites_of(self, job: Job) -> tuple[str, ...]:
        """The sites that ``job`` asks, sorted: those it names, or all whose silo has the dataset."""
        return tuple(sorted(job.federation.sites or self._with_dataset(job.dataset.name)))

    def _with_dataset(self, dataset: str) -> list[str]:
        return [site for site, silo in self.silos.items() if dataset in silo.value.datasets]


@dataclass(frozen=True)
class SiteDocuments:
    """What a site's own processes read.

    Attributes:
        silo: what the site brings.
        policies: what it allows.
    """

    silo: Document[Silo]
    policies: Policies
