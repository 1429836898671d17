# SPDX-License-Identifier: Apache-2.0
"""A signed job: its submitter's manifest as an envelope, whose word it is, and whether what arrived is what it lists.

A manifest counts where, in this order: one signature fits; this federation's authority issued the signer's certificate
and it is valid now; the roster has the signer as a person with that organisation and role; the manifest names the
same person as submitter; the clock lies between its two times, give or take five minutes (clocks of machines that
nobody watches differ by less than that; Kerberos allows the same, RFC 4120, 1.6 and 8.2).

NVFlare signs the content of each file and the name of each folder, and nothing that holds them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509

from cloister.certificates import Anchors, Identity, signer_of
from cloister.envelope import Signer, seal, unseal
from cloister.errors import DeniedError, SignatureError
from cloister.files import sha256_of
from cloister.jobs import Job
from cloister.jobs.manifest import Manifest
from cloister.roster import Federation

KIND = "application/vnd.cloister.job-manifest+json"
CLOCK_TOLERANCE = timedelta(minutes=5)

_CHANGED = "submit the job again; if that does not help, something between you and the site changes jobs"


@dataclass(frozen=True)
class SignedManifest:
    """A manifest that counts.

    Attributes:
        manifest: what is stated.
        signer: who signed it; a person of the roster, and the manifest's submitter.
    """

    manifest: Manifest
    signer: Identity


def sign_manifest(manifest: Manifest, signer: Signer, certificate: x509.Certificate) -> bytes:
    """``manifest`` as the envelope that travels in a job.

    Args:
        manifest: what is stated.
        signer: the submitter's key.
        certificate: the submitter's certificate.
    """
    return seal(KIND, manifest.to_bytes(), signer, certificate)


def verify_manifest(content: bytes, federation: Federation, anchors: Anchors, now: datetime) -> SignedManifest:
    """The manifest in an envelope, if it counts here and now.

    Args:
        content: the envelope.
        federation: the roster, as this participant has it.
        anchors: the authorities that count here, from this participant's own roster in force.
        now: aware time.

    Raises:
        DeniedError: where one of this module's conditions does not hold.
    """
    envelope = unseal(KIND, content)
    signer = signer_of(envelope, federation, anchors, now)
    if signer.kind != "person":
        raise SignatureError(f"the job's manifest is signed by the {signer.kind} `{signer.name}` and by no person")
    manifest = Manifest.from_bytes(envelope.payload)
    if manifest.submitter != signer.name:
        raise SignatureError(f"the job's manifest names `{manifest.submitter}` and is signed by `{signer.name}`")
    _check_times(manifest, now)
    return SignedManifest(manifest, signer)


def check_app(manifest: Manifest, app: str, files: Mapping[str, bytes], job: Job) -> None:
    """See that an app that arrived is the one that the manifest lists.

    Args:
        manifest: one that counts.
        app: the app's name, which its files' paths in the manifest begin with.
        files: content of each file that arrived by its path inside the app, without the manifest and NVFlare's
            signatures.
        job: the job document among them, as read.

    Raises:
        DeniedError: where a file is missing, extra or another, or the job says otherwise than the manifest.
    """
    listed = manifest.of_app(app)
    if missing := sorted(listed.keys() - files.keys()):
        raise DeniedError(f"the job lacks `{missing[0]}`, which its manifest lists", hint=_CHANGED)
    if extra := sorted(files.keys() - listed.keys()):
        raise DeniedError(f"the job carries `{extra[0][:200]}`, which its manifest does not list", hint=_CHANGED)
    for path, content in sorted(files.items()):
        if sha256_of(content) != listed[path]:
            raise DeniedError(f"the job's `{path}` is not the one that its manifest lists", hint=_CHANGED)
    if (job.job, job.purpose) != (manifest.job, manifest.purpose):
        raise DeniedError("the job's name or purpose is not the one in its manifest", hint=_CHANGED)
    if (job.code is None) != (manifest.code is None):
        raise DeniedError("the job brings training code where its manifest has none, or the reverse", hint=_CHANGED)
    if job.federation.sites and set(job.federation.sites) != set(manifest.sites):
        raise DeniedError("the job asks other sites than its manifest", hint=_CHANGED)


def _check_times(manifest: Manifest, now: datetime) -> None:
    begin, end = _time(manifest.not_before), _time(manifest.expires)
    shown = f"{now.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if now < begin - CLOCK_TOLERANCE:
        off = _span(begin - now)
        raise DeniedError(
            f"the job's manifest counts from {begin:%Y-%m-%d %H:%M} UTC on, and the verifier's clock says {shown}",
            hint=f"a clock is off by {off} or more, the submitter's or the verifier's",
        )
    if now >= end + CLOCK_TOLERANCE:
        off = _span(now - end)
        raise DeniedError(
            f"the job's manifest expired at {end:%Y-%m-%d %H:%M} UTC, {off} ago: the verifier's clock says {shown}",
            hint=f"submit the job again; if it was submitted just now, a clock is off by {off} or more",
        )


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _span(span: timedelta) -> str:
    """``span`` in whole minutes, hours or days, rounded down."""
    minutes = int(span.total_seconds() // 60)
    for unit, size in (("day", 24 * 60), ("hour", 60), ("minute", 1)):
        if minutes >= size or unit == "minute":
            count = minutes // size
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    raise AssertionError
