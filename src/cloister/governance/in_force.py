# SPDX-License-Identifier: Apache-2.0
"""Whether the policy of a site is in force: there, valid, signed, within its dates, not older than before, not revoked.

Whoever lets a job in asks here, anew for every job, so a change counts for the next job without a restart. Nothing here
falls back to anything: a policy that is not in force is told in one sentence, and no job is decided under it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from cloister.certificates import Anchors
from cloister.documents import Document
from cloister.errors import DeniedError, InvalidDocumentsError
from cloister.files import read_regular
from cloister.governance.policy_signature import Signed, check_policy_signature, officers_of, signature_file
from cloister.governance.policy_versions import PolicyVersions
from cloister.governance.revocation import check_not_revoked
from cloister.policies import Policy
from cloister.policies.dates import outside_dates
from cloister.repository import SiteDocuments, load_site
from cloister.roster import ROSTER, Federation

_MAXIMUM_BYTES = 64 * 1024
_DECIDING = "policies/"


@dataclass(frozen=True)
class InForce:
    """A site's documents whose policy, and baseline, are in force.

    Attributes:
        site: the documents.
        signed: who signed the site's own policy.
        baseline_signed: who signed the baseline.
        until: the last day, UTC, on which both count; where a signature lapses on that day, a part of it.
    """

    site: SiteDocuments
    signed: Signed
    baseline_signed: Signed
    until: date


def policy_in_force(  # noqa: PLR0913 - whose policy, whose word counts, and when; nothing of it has a default
    root: Path,
    site: str,
    federation: Federation,
    anchors: Anchors,
    versions: PolicyVersions,
    now: datetime,
    *,
    take_up: bool,
) -> InForce:
    """What is in force at ``site`` now.

    Args:
        root: the folder that holds the site's documents.
        site: the site's name.
        federation: the roster, as it is now.
        anchors: the authorities that count here, from the site's own roster in force.
        versions: what the site remembers of earlier versions.
        now: aware time, UTC.
        take_up: whether to remember these versions, or that they were revoked; only the site itself does.

    Raises:
        DeniedError: where the policy or the baseline is not in force; one sentence says why.
        InvalidDocumentsError: where the site's silo document cannot be read.
    """
    try:
        documents = load_site(root, site)
    except InvalidDocumentsError as error:
        first = next((each for each in error.problems if each.file.startswith(_DECIDING)), None)
        if first is None:
            raise
        place = f"{first.file}:{first.line}" if first.line else first.file
        raise DeniedError(f"site `{site}` has no policy in force: {place}: {first.message}", hint=first.hint) from error
    pair = (documents.policies.site, documents.policies.baseline)
    memory = versions if take_up else None
    signed, baseline_signed = (check_policy(root, each, federation, anchors, now, memory) for each in pair)
    (versions.take_up if take_up else versions.check)(pair)
    until = min(*(each.value.valid_until for each in pair), signed.lapses, baseline_signed.lapses)
    return InForce(documents, signed, baseline_signed, until)


def check_policy(
    root: Path,
    policy: Document[Policy],
    federation: Federation,
    anchors: Anchors,
    now: datetime,
    versions: PolicyVersions | None = None,
) -> Signed:
    """Who signed ``policy``, if it is signed, within its dates and not revoked.

    Args:
        root: the folder that holds the documents.
        policy: as it was read.
        federation: the roster, as it is now.
        anchors: the authorities that count here, from this participant's own roster in force.
        now: aware time, UTC.
        versions: what the site remembers; None where no site asks.

    Raises:
        DeniedError: where it is not; one sentence says which.
    """
    check_not_revoked(root, policy, anchors, versions)
    signed = check_signature(root, policy, federation, anchors, now)
    check_dates(policy, now)
    return signed


def check_signature(
    root: Path, policy: Document[Policy], federation: Federation, anchors: Anchors, now: datetime
) -> Signed:
    """Who signed ``policy``, if that counts now; whatever its dates are.

    Raises:
        DeniedError: where it does not.
    """
    return check_policy_signature(policy, _signature(root, policy, federation), federation, anchors, now)


def check_dates(policy: Document[Policy], now: datetime) -> None:
    """See that ``policy`` has begun and has not ended.

    Raises:
        DeniedError: where it has not, or has.
    """
    if found := outside_dates(policy.value, now.date()):
        said, key = found
        ended = "renew it under a higher version"
        hint = ended if key == "valid_until" else "wait until then, or sign a higher version that begins earlier"
        raise DeniedError(f"`validity`: {said} ({policy.source.at(key)})", hint=hint)


def is_unsigned(root: Path, policy: Document[Policy]) -> bool:
    """Whether there is no signature beside ``policy`` at all."""
    return not signature_file(root, policy).is_file()


def unsigned(policy: Document[Policy], federation: Federation) -> DeniedError:
    """What is said of a policy that nobody has signed."""
    name = policy.value.policy
    officers = officers_of(federation, name)
    if not officers:
        where = "`baseline_officers`" if policy.value.is_baseline else "the site's `officers`"
        hint = f"name one in {where} in {ROSTER}, who then signs it: cloister policy sign {name}"
        return DeniedError(f"`{policy.source.file}` is not signed, and the roster names nobody who may", hint=hint)
    hint = f"{' or '.join(officers[:3])} signs it: cloister policy sign {name}"
    return DeniedError(f"`{policy.source.file}` is not signed", hint=hint)


def _signature(root: Path, policy: Document[Policy], federation: Federation) -> bytes:
    path = signature_file(root, policy)
    try:
        return read_regular(path, _MAXIMUM_BYTES)
    except FileNotFoundError as error:
        raise unsigned(policy, federation) from error
    except OSError as error:
        raise DeniedError(f"the signature of `{policy.source.file}` cannot be read") from error
