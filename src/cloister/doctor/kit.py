# SPDX-License-Identifier: Apache-2.0
"""Are a participant's own key and certificate in order, and is their renewal in time?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from cryptography import x509

from cloister.doctor import spans
from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order
from cloister.doctor.own import Own
from cloister.provisioning.kit import Fault, faults
from cloister.provisioning.renewal import is_overdue

_CODES = {
    Fault.MISSING: "D0601",
    Fault.UNREADABLE: "D0602",
    Fault.KEY_EXPOSED: "D0603",
    Fault.FOLDER_EXPOSED: "D0604",
    Fault.OTHER_KEY: "D0605",
    Fault.OTHER_AUTHORITY: "D0606",
    Fault.NO_AUTHORITY: "D0607",
    Fault.EXPIRED: "D0608",
    Fault.NOT_YET_VALID: "D0609",
    Fault.NOT_IN_ROSTER: "D0610",
    Fault.REFUSED: "D0611",
    Fault.REVOKED: "D0612",
}
_AUTHORITY_SOON = timedelta(days=90)
_RENEW = "renew it: cloister renew {name}"
_HINTS = {
    Fault.MISSING: "ask the authority: `cloister {kind} request {name} --out FILE`, then `cloister {kind} join KIT`",
    Fault.UNREADABLE: "put it back from a backup, or join again with the authority's kit: `cloister {kind} join KIT`",
    Fault.OTHER_KEY: "put back the key that belongs to it, or ask the authority for a certificate of this key",
    Fault.OTHER_AUTHORITY: "compare the authority's fingerprint with its people, and take up their newest roster",
    Fault.NO_AUTHORITY: "find out how it came there, and join again with the authority's fingerprint",
    Fault.EXPIRED: "ask for a new one by file: `cloister renew {name} --out FILE`, and hand that to the authority",
    Fault.REFUSED: _RENEW,
    Fault.NOT_IN_ROSTER: _RENEW,
}


def judge_kit(own: Own, now: datetime) -> Iterator[Finding]:
    """Everything that is to be said of key, certificate and roots; one finding at least."""
    found = tuple(_faults(own, now))
    yield from found
    ageing = tuple(_ageing(own, now))
    yield from ageing
    certificate = own.kit.certificate
    if not found and not ageing and certificate is not None:
        end = certificate.not_valid_after_utc
        message = f"key and certificate are in order until {spans.moment(end)}, for {spans.said(end - now)}"
        yield in_order(Topic.KIT, message)


def _faults(own: Own, now: datetime) -> Iterator[Finding]:
    if own.interrupted:
        message = "a renewal was stopped while it was put in place: the new files lie whole in `renewal/ready`"
        hint = f"it is finished at the next start, or by `cloister renew {own.identity.name}`"
        yield Finding("D0617", message, hint)
    for fault in faults(own.kit, own.identity, now, own.anchors if own.trust else None):
        if own.interrupted and fault.fault is Fault.OTHER_KEY:
            continue  # one of the two has been replaced already
        code = _CODES.get(fault.fault, "D0611")
        message, hint = fault.message, fault.hint
        if fault.fault in _HINTS and not (fault.fault is Fault.UNREADABLE and hint):
            hint = _HINTS[fault.fault].format(name=own.identity.name, kind=own.identity.kind)
        is_root = f"`{own.kit.paths.root}`" in message
        if fault.fault is Fault.EXPIRED:
            end = _end(own, is_root=is_root)
            message += f", {spans.said(now - end)} ago by this machine's clock" if end else ""
        if fault.fault is Fault.EXPIRED and is_root:
            code, hint = "D0616", "the authority's people make a new one: see `cloister authority rotate`"
        if fault.fault is Fault.REVOKED and own.trust is not None and own.kit.certificate is not None:
            why = own.trust.revocation_of(own.kit.certificate)
            message += f" on {spans.moment(why.revoked_at)}: {why.reason}" if why else ""
        if fault.fault is Fault.NOT_YET_VALID:
            hint = "one clock is wrong: this machine's is behind, or the authority's was ahead when it signed"
        yield Finding(code, message, hint)


def _end(own: Own, *, is_root: bool) -> datetime | None:
    found: tuple[x509.Certificate, ...] = own.anchors.roots if is_root else ()
    if not is_root and own.kit.certificate is not None:
        found = (own.kit.certificate,)
    return min((each.not_valid_after_utc for each in found), default=None)


def _ageing(own: Own, now: datetime) -> Iterator[Finding]:
    """Renewal and the authority's own end, as far as neither has come yet."""
    ends = [root.not_valid_after_utc for root in own.anchors.roots]
    last = max(ends, default=None)
    if last is not None and now <= last and last - now < _AUTHORITY_SOON:
        message = f"the authority's certificate ends on {spans.moment(last)}, and everything with it"
        yield Finding("D0615", message, "the authority's people begin a new one: `cloister authority rotate`")
    certificate = own.kit.certificate
    if certificate is None:
        return
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= now <= end or end in ends:  # a new one would end with the authority as well
        return
    left = f"the certificate ends on {spans.moment(end)}, in {spans.said(end - now)}"
    hint = "the request waits for an answer: remind the authority's people"
    if not own.has_asked:
        hint = f"{_RENEW.format(name=own.identity.name)}; while connected it is asked for by itself"
    if now > end - (end - begin) / 10:
        yield Finding("D0614", f"{left}, and was not renewed: nine tenths of its life are over", hint)
    elif is_overdue(certificate, now):
        yield Finding("D0613", f"{left}, and two thirds of its life are over", hint)
