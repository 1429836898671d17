# SPDX-License-Identifier: Apache-2.0
"""Is a site's policy in force: signed, within its dates, not revoked? And is the sandbox there that it demands?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cloister.certificates import Anchors
from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order
from cloister.errors import DeniedError
from cloister.governance.in_force import is_unsigned, policy_in_force, unsigned
from cloister.governance.policy_versions import PolicyVersions
from cloister.policies import Policies
from cloister.policies.dates import outside_dates
from cloister.repository import SiteDocuments
from cloister.roster import Federation

_SOON = timedelta(days=30)


def look_at_policy(
    root: Path, documents: SiteDocuments, federation: Federation, anchors: Anchors, workspace: Path, now: datetime
) -> Iterator[Finding]:
    """Everything that is to be said of a site's policy and the baseline; one finding at least.

    Args:
        root: the folder that holds the site's documents.
        documents: the site's.
        federation: the roster that counts.
        anchors: the authorities that count.
        workspace: the site's.
        now: aware time.
    """
    told = tuple(_plainly_wrong(root, documents.policies, federation, now))
    yield from told
    site = documents.silo.value.site
    try:
        found = policy_in_force(root, site, federation, anchors, PolicyVersions(workspace), now, take_up=False)
    except DeniedError as error:
        if not told:
            yield Finding("D0803", f"the site takes no jobs: {error.message}", error.hint)
        return
    policy = found.site.policies.site.value
    if found.until - now.date() < _SOON:
        days = (found.until - now.date()).days
        message = f"the policy counts until {found.until}, {days} days from now: it or a signature ends then"
        yield Finding("D0804", message, "its officer renews or signs it anew: see `cloister policy sign`")
        return
    message = f"version {policy.version}, signed by {found.signed.by}, is in force until {found.until}"
    yield in_order(Topic.POLICY, message)


def _plainly_wrong(root: Path, policies: Policies, federation: Federation, now: datetime) -> Iterator[Finding]:
    for document in (policies.site, policies.baseline):
        if is_unsigned(root, document):
            error = unsigned(document, federation)
            yield Finding("D0801", f"the site takes no jobs: {error.message}", error.hint)
        if outside := outside_dates(document.value, now.date()):
            said, key = outside
            hint = "its officer renews it under a higher version and signs that"
            yield Finding("D0802", f"the site takes no jobs: {said} ({document.source.at(key)})", hint)


def judge_sandbox(missing: str | None, policies: Policies) -> Finding:
    """Whether the trainer can be locked in as the policy demands (pure).

    Args:
        missing: why there is no sandbox; None where there is one.
        policies: the site's.
    """
    if policies.sandbox != "required":
        message = "the policy says `sandbox: unsafe-none`: trainers see the network and what this user can read"
        return Finding("D0902", message, "write `sandbox: required` into the policy and sign it")
    if missing is not None:
        hint = "mend that; the policy demands a sandbox, so every job is refused without one"
        return Finding("D0901", f"there is no sandbox: {missing}", hint)
    return in_order(Topic.SANDBOX, "bubblewrap locks trainers in")
