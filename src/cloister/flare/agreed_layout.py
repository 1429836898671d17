# SPDX-License-Identifier: Apache-2.0
"""Which tensors a job exchanges, by what its sites announced: those that most of them have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloister.flare.lower_rank import rank_of
from cloister.jobs import AdapterLayout, Job


@dataclass(frozen=True)
class Agreement:
    """What most sites have.

    Attributes:
        layout: with the job's rank.
        sites: by name what each site that has it exchanges: the same, or the same at a lower rank.
    """

    layout: AdapterLayout
    sites: Mapping[str, AdapterLayout]


def agreed_layout(job: Job, announced: Mapping[str, AdapterLayout]) -> Agreement:
    """What most of the sites in ``announced`` have; of two that as many have, the one of the site that comes first.

    Raises:
        ValueError: where no site announced anything.
    """
    groups: dict[str, dict[str, AdapterLayout]] = {}
    for site, own in sorted(announced.items()):
        groups.setdefault(_at_full_rank(job, own).digest, {})[site] = own
    if not groups:
        raise ValueError("no site announced what it exchanges")
    sites = max(groups.values(), key=len)
    return Agreement(_at_full_rank(job, next(iter(sites.values()))), sites)


def _at_full_rank(job: Job, own: AdapterLayout) -> AdapterLayout:
    lora = None if job.method is None else job.method.lora
    if lora is None or lora.minimum_rank is None or not lora.minimum_rank <= rank_of(own) <= lora.rank:
        return own
    whole = own.at_rank(lora.rank)
    return whole if whole.at_rank(rank_of(own)) == own else own
