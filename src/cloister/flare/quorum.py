# SPDX-License-Identifier: Apache-2.0
"""Whether enough sites are behind a step of a job, by the job's own minimum and by every site's policy."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from cloister.errors import DeniedError, JobError
from cloister.flare.grouped_reasons import grouped
from cloister.flare.site_progress import SiteProgress
from cloister.jobs import Job


def check_enough(job: Job, sites: Mapping[str, SiteProgress], behind: Collection[str], what: str) -> None:
    """See that enough sites are ``behind`` a step.

    Args:
        job: says how many it needs.
        sites: all that were invited.
        behind: those that there are.
        what: said of those, such as `are ready`.

    Raises:
        DeniedError: where a site's policy demands more, or there are too few for the job and with those whose policy
            said no there would be enough.
        JobError: where there are too few for other reasons.
    """
    _check_minimum(sites, job.federation.minimum_sites, len(behind), what)
    _check_release(sites, behind)


def _check_minimum(sites: Mapping[str, SiteProgress], minimum: int, count: int, what: str) -> None:
    if count >= minimum:
        return
    hindered = grouped((name, site.reason) for name, site in sites.items() if site.reason)
    reasons = "; ".join(f"{who}: {why}" for who, why in hindered)
    message = f"{count} of {len(sites)} sites {what}, and the job needs {minimum}"
    message += f": {reasons}" if reasons else ""
    denied = sum(site.denied for site in sites.values())
    raise (DeniedError if denied and count + denied >= minimum else JobError)(message)


def _check_release(sites: Mapping[str, SiteProgress], behind: Collection[str]) -> None:
    announced = {name: site.prepared for name, site in sites.items() if site.prepared}
    records = sum(announced[name].training for name in behind)
    for name, prepared in sorted(announced.items()):
        for count, needed, what in (
            (len(behind), prepared.release_minimum_sites, "sites"),
            (records, prepared.release_minimum_records, "records to train on"),
        ):
            if count < needed:
                message = f"the result would rest on {count} {what}, and the policy of `{name}` demands {needed}"
                raise DeniedError(message, hint="`release` in docs/policies.md says what is counted")
