# SPDX-License-Identifier: Apache-2.0
"""What a site announces before the first round, and whether the server can take it at its word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloister.errors import EgressError
from cloister.flare.exchange import Prepared, Settled
from cloister.flare.site_progress import SiteProgress
from cloister.jobs import AdapterLayout, Job
from cloister.jobs.statistics import FeatureStatistics, answers

# Every round is written to disk, once for each site; a layout is a site's word, so it needs a bound.
_MAXIMUM_ADAPTER_BYTES = 4 << 30


def check_prepared(job: Job, reply: Prepared) -> None:
    """See that a site announced what ``job`` asks for: tensors, or what its features are like.

    Raises:
        EgressError: where it did not.
    """
    describes = job.form.statistics
    if describes != (reply.statistics is not None) or describes == (reply.layout is not None):
        raise EgressError("the site announced something else than the job asks for")
    if reply.statistics is not None:
        whole_view = reply.training + reply.validation
        if reply.statistics.records != whole_view or not answers(reply.statistics, job):
            raise EgressError("the site describes other records or features than the job's")
    if reply.layout is not None:
        _check_layout(reply.layout)


def check_settled(reply: Settled) -> None:
    """See that the tensors that a site announced are an adapter's, and not too many.

    Raises:
        EgressError: where they are not.
    """
    _check_layout(reply.layout)


def announced_layouts(sites: Mapping[str, SiteProgress]) -> dict[str, AdapterLayout]:
    """By name the tensors of each of ``sites`` that is ready."""
    return {
        name: AdapterLayout.from_json(site.prepared.layout)
        for name, site in sites.items()
        if site.state == "ready" and site.prepared is not None and site.prepared.layout is not None
    }


def described_features(sites: Mapping[str, SiteProgress]) -> dict[str, FeatureStatistics]:
    """By name what the features are like at each of ``sites`` that described them."""
    return {
        name: site.prepared.statistics
        for name, site in sites.items()
        if site.state == "described" and site.prepared is not None and site.prepared.statistics is not None
    }


def _check_layout(value: dict[str, Any]) -> None:
    try:
        size = AdapterLayout.from_json(value).bytes
    except ValueError as error:
        raise EgressError("the site announced tensors that are not an adapter's") from error
    if size > _MAXIMUM_ADAPTER_BYTES:
        raise EgressError(f"the site announced an adapter of {size} bytes, more than the server takes")
