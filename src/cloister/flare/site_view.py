# SPDX-License-Identifier: Apache-2.0
"""The governed view of one job at a site: asked about before it is written and after, then described or trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cloister.audit import Kind
from cloister.errors import DeniedError, EgressError
from cloister.flare.site_gates import SiteGates
from cloister.flare.view_facts import audit_facts, view_facts
from cloister.jobs.statistics import FeatureStatistics
from cloister.records import ViewManifest, ViewRequest, describe_view, split_key, write_view
from cloister.silos import Dataset

ViewMaker = Callable[[Dataset, ViewRequest, Path], tuple[ViewManifest, ViewManifest]]
"""Writes a view of a dataset into a folder; gives what policies are asked about, and what the folder holds."""


class SiteView:
    """The view of one job at this site.

    Args:
        gates: asks the policies.
        folder: where it is written.
        make: writes it; None for `cloister.records.write_view` with the site's own key.
    """

    def __init__(self, gates: SiteGates, folder: Path, make: ViewMaker | None = None) -> None:
        self._gates, self._folder, self._make = gates, folder, make or self._own
        self._job = gates.document.value
        self._training = 0

    def write(self) -> ViewManifest:
        """Write the view; returns what it holds.

        Raises:
            CloisterError: where it may not be, or cannot be.
        """
        wanted, policies = self._job.dataset, self._gates.policies
        where, free_text = policies.row_filter(wanted.name), policies.free_text(wanted.name)
        request = ViewRequest(wanted, self._job.seed, where, free_text)
        self._gates.decide()
        judged, held = self._make(self._declared, request, self._folder)
        self._gates.view = view_facts(judged)
        self._gates.record(Kind.VIEW, audit_facts(wanted.name, judged))
        self._gates.decide()
        self._training = held.training
        return held

    def describe(self) -> FeatureStatistics:
        """What the features are like in the view.

        Raises:
            DeniedError: where the policies have no such thing leave.
        """
        least = self._gates.policies.minimum_count
        if least is None:
            raise DeniedError("descriptions of features may not leave this site")
        return describe_view(self._folder, self._declared, self._job, least)

    def check_claimed(self, records: int) -> None:
        """See that a trainer trained on no more ``records`` than there are to train on.

        Raises:
            EgressError: where it says that it did.
        """
        if records > self._training:
            raise EgressError("the trainer claims more records than its view holds")

    @property
    def _declared(self) -> Dataset:
        return self._gates.admitted.site.silo.value.datasets[self._job.dataset.name]

    def _own(self, dataset: Dataset, request: ViewRequest, folder: Path) -> tuple[ViewManifest, ViewManifest]:
        settings = self._gates.settings
        key, root = split_key(settings.workspace), settings.root
        manifest = write_view(dataset, request, key=key, root=root, folder=folder, name=self._job.dataset.name)
        return manifest, manifest
