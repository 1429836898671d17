# SPDX-License-Identifier: Apache-2.0
"""The rank with which a site takes part in a job that is content with less than it asks."""

from __future__ import annotations

from cloister.errors import DeniedError
from cloister.jobs import Job
from cloister.policies.decision import quoted
from cloister.policies.pair import Policies


def rank_at(job: Job, policies: Policies) -> int | None:
    """The rank of the low-rank factors that ``job`` trains at a site with ``policies``; None where it trains none.

    It is the job's own, or the largest that both policies grant where the job says with `minimum_rank` that less will
    do. The rule `method` has decided on the same numbers by then.

    Raises:
        DeniedError: where they grant none, or less than the job needs.
    """
    lora = None if job.method is None else job.method.lora
    if lora is None:
        return None
    own, floor = policies.site.value.methods, policies.baseline.value.methods
    grants = [methods.lora for methods in (own, floor) if methods is not None]
    ranks = [grant.maximum_rank for grant in grants if grant is not None]
    least = lora.rank if lora.minimum_rank is None else lora.minimum_rank
    rank = min((lora.rank, *ranks))
    if own is None or len(ranks) < len(grants) or rank < least:
        raise DeniedError(f"job {quoted(job.job)} asks for a rank of {least} at least, which is not granted here")
    return rank
