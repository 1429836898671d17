# SPDX-License-Identifier: Apache-2.0
"""Is the roster in force here fresh, and does it make somebody of this participant?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cloister.certificates import identities, pem
from cloister.doctor import spans
from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order
from cloister.doctor.own import Own
from cloister.errors import CertificateError
from cloister.provisioning.kit import faults
from cloister.roster import ROSTER, Federation
from cloister.trust import Trust, judge

_NEWER = "take up the newest: it comes by itself while connected, else by file from the authority (`authority publish`)"


def judge_roster(own: Own, document: Federation, now: datetime) -> Iterator[Finding]:
    """Everything that is to be said of the roster and of ``own`` in it; one finding at least.

    Args:
        own: the participant.
        document: provisioning/federation.yaml as it lies on this machine.
        now: aware time.
    """
    trust = own.trust
    name = own.identity.name
    if trust is None:
        if not own.listed:
            yield _off(name, ROSTER)
        if own.no_trust is not None:
            code = "D0703" if own.has_roster else "D0702"
            yield Finding(code, own.no_trust.message, own.no_trust.hint or _NEWER)
        return
    found = (*_freshness(trust, now), *_own_entry(own, trust, now), *_difference(trust, document))
    yield from found or (_right(own, trust),)


def _freshness(trust: Trust, now: datetime) -> Iterator[Finding]:
    if trust.is_stale(now):
        late = spans.said(now - trust.next_update)
        message = (
            f"version {trust.version} of the roster is stale: a newer one should have come by "
            f"{spans.moment(trust.next_update)}, {late} ago; no new jobs are admitted with it"
        )
        yield Finding("D0704", message, _NEWER)


def _own_entry(own: Own, trust: Trust, now: datetime) -> Iterator[Finding]:
    name = own.identity.name
    if all(each.name != name for each in identities(trust.federation)):
        yield _off(name, f"version {trust.version} of the roster")
        return
    certificate = own.kit.certificate
    if certificate is None or faults(own.kit, own.identity, now, trust.anchors):
        return  # the kit's own findings say why
    try:
        judge(certificate, trust, now)
    except CertificateError as error:
        pinned = pem.fingerprint(certificate) in trust.pins.get(name, frozenset())
        hint = "the server refuses it too; ask the authority's people which certificate they issued, and renew"
        yield Finding("D0705" if pinned else "D0707", error.message, error.hint or hint)


def _off(name: str, where: str) -> Finding:
    hint = "ask the authority's people to write the entry, and to publish the roster; nobody off it is admitted"
    return Finding("D0701", f"`{name}` is not in {where}", hint)


def _difference(trust: Trust, document: Federation) -> Iterator[Finding]:
    if document != trust.federation:
        message = f"`{ROSTER}` on this machine says something else than version {trust.version} of the roster"
        hint = "the signed roster counts; where the document is newer, the authority publishes it (`authority publish`)"
        yield Finding("D0706", message, hint)


def _right(own: Own, trust: Trust) -> Finding:
    entry = own.identity
    role = f" as {entry.role.value}" if entry.role is not None else ""
    message = (
        f"version {trust.version} of the roster, signed on {spans.moment(trust.issued_at)} and fresh until "
        f"{spans.moment(trust.next_update)}, has `{entry.name}` of `{entry.organisation}`{role}"
    )
    return in_order(Topic.ROSTER, message)
