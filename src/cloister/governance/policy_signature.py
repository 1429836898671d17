# SPDX-License-Identifier: Apache-2.0
"""A policy's signature: a compliance officer's word for exactly these bytes, in the file beside it.

`policies/<name>.yaml.sig` is an envelope whose statement names the policy, its version and the SHA-256 of its file.
It counts where an officer signed it whom the roster lists for that policy, with a certificate that is valid now.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from cloister.certificates import Anchors, signer_of
from cloister.documents import Document
from cloister.envelope import Signer, seal, unseal
from cloister.errors import CloisterError, DeniedError, SignatureError
from cloister.files import canonical_json, sha256_of
from cloister.policies import BASELINE, Policy
from cloister.roster import Federation, Role

KIND = "application/vnd.cloister.policy-signature+json"
ENDING = ".sig"
RAISE_VERSION = "raise the version with every change, then sign it: cloister policy sign {name}"

_KEYS = {"policy", "version", "sha256", "signed_at"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Signed:
    """Who signed a policy, when they say they did, and how long that counts.

    Attributes:
        by: the officer's name.
        at: as they state it, such as `2026-11-20T14:00:00Z`.
        lapses: the day, UTC, on which their certificate runs out, and the signature with it.
    """

    by: str
    at: str
    lapses: date


def officers_of(federation: Federation, name: str) -> tuple[str, ...]:
    """Names of those who may sign the policy called ``name``: listed for it, and compliance officers by role."""
    if name == BASELINE:
        listed = federation.baseline_officers
    else:
        entry = federation.site(name)
        listed = entry.officers if entry else ()
    by_role = {person.name for person in federation.people if person.role is Role.COMPLIANCE_OFFICER}
    return tuple(officer for officer in listed if officer in by_role)


def signature_file(root: Path, policy: Document[Policy]) -> Path:
    """Where the signature of ``policy`` lies."""
    return root / f"{policy.source.file}{ENDING}"


def sign_policy(
    name: str, text: bytes, version: int, signer: Signer, certificate: x509.Certificate, now: datetime
) -> bytes:
    """The signature of a policy, as the file beside it.

    Args:
        name: the site's, or `baseline`.
        text: the policy file's bytes.
        version: the version that they state.
        signer: the officer's key.
        certificate: the officer's certificate.
        now: aware time.
    """
    statement = {"policy": name, "version": version, "sha256": sha256_of(text), "signed_at": stamp(now)}
    return seal(KIND, canonical_json(statement), signer, certificate)


def check_policy_signature(
    policy: Document[Policy], content: bytes, federation: Federation, anchors: Anchors, now: datetime
) -> Signed:
    """Who signed ``policy``, if that counts.

    Args:
        policy: as it was read.
        content: of the signature's file.
        federation: the roster, as it is now.
        anchors: the authorities that count here, from this participant's own roster in force.
        now: aware time.

    Raises:
        DeniedError: where it does not count; says why.
    """
    name, file = policy.value.policy, policy.source.file
    again = f"whoever may sign it signs it again: cloister policy sign {name}"
    try:
        envelope = unseal(KIND, content)
        stated = envelope.value()
        if not _is_statement(stated):
            raise SignatureError("the signed statement does not say what a policy's signature says")
        signer = signer_of(envelope, federation, anchors, now)
    except CloisterError as error:
        raise SignatureError(f"`{file}` is not validly signed: {error.message}", hint=error.hint or again) from error
    if stated["policy"] != name:
        raise SignatureError(f"`{file}{ENDING}` is the signature of the policy of `{stated['policy']}`", hint=again)
    if signer.kind != "person" or signer.name not in officers_of(federation, name):
        hint = "see `officers` and `baseline_officers` in provisioning/federation.yaml"
        raise SignatureError(f"`{file}` is signed by `{signer.name}`, who may not sign it", hint=hint)
    if (stated["version"], stated["sha256"]) != (policy.value.version, sha256_of(policy.text)):
        message = f"`{file}` was changed after `{signer.name}` signed version {stated['version']} of it"
        raise SignatureError(message, hint=RAISE_VERSION.format(name=name))
    return Signed(signer.name, stated["signed_at"], envelope.certificate.not_valid_after_utc.date())


def check_may_follow(policy: Document[Policy], content: bytes, federation: Federation, anchors: Anchors) -> None:
    """See that ``policy`` may replace what ``content`` is the signature of.

    What no officer of the policy signed forbids nothing; their certificate may have run out since.

    Args:
        policy: as it was read.
        content: of the signature's file.
        federation: the roster, as it is now.
        anchors: the authorities that count here, from this participant's own roster in force.

    Raises:
        DeniedError: where a signed version would be signed with other bytes, or a lower one would follow it.
    """
    name, version, at = policy.value.policy, policy.value.version, policy.source.at("version")
    try:
        envelope = unseal(KIND, content)
        stated = envelope.value()
        if not _is_statement(stated) or stated["policy"] != name:
            return
        signer = signer_of(envelope, federation, anchors, datetime.fromisoformat(stated["signed_at"]))
    except SignatureError:
        return
    if signer.kind != "person" or signer.name not in officers_of(federation, name):
        return
    if version < stated["version"]:
        message = f"{at}: version {version} is below {stated['version']}, which was signed"
        raise DeniedError(message, hint="raise the version with every change")
    if version == stated["version"] and stated["sha256"] != sha256_of(policy.text):
        message = f"{at}: version {stated['version']} was signed with other content"
        raise DeniedError(message, hint="raise the version with every change")


def stamp(now: datetime) -> str:
    """``now`` in UTC to the second (RFC 3339)."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_stamp(value: Any) -> bool:
    """Whether ``value`` is one of `stamp`'s."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_statement(value: dict[str, Any]) -> bool:
    return (
        value.keys() == _KEYS
        and isinstance(value["policy"], str)
        and type(value["version"]) is int
        and isinstance(value["sha256"], str)
        and is_stamp(value["signed_at"])
    )
