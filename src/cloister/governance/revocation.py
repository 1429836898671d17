# SPDX-License-Identifier: Apache-2.0
"""Taking a policy's version back, also from jobs that run under it.

`policies/revoked/<name>-v<version>.json` is an envelope. What lies there under a policy's name counts so:

1. A revocation takes back the one version that it states: its signature fits, this federation's authority issued the
   signer's certificate, it states what a revocation states, and the file's name says the same.
2. Who signed it does not matter, nor whether they are still in the roster or their certificate has run out: a
   revocation does not lapse, and who can write there could stop jobs anyway. `cloister policy revoke` is for officers.
3. Anything else takes every version back, because it may have been a revocation.
4. A site remembers the versions that it saw revoked by 1: removing the file does not bring them back there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from cloister.certificates import Anchors, keys
from cloister.documents import Document
from cloister.envelope import Signer, seal, unseal
from cloister.errors import CloisterError, DeniedError, SignatureError
from cloister.files import canonical_json, read_regular
from cloister.governance.policy_signature import is_stamp, stamp
from cloister.governance.policy_versions import PolicyVersions
from cloister.policies import Policy

KIND = "application/vnd.cloister.policy-revocation+json"
FOLDER = "policies/revoked"
MAXIMUM_REASON_CHARACTERS = 200
AGAIN = "raise `version` and sign it: the site takes jobs again under a higher version"

_NAME = re.compile(r"(.+)-v([1-9][0-9]{0,8})\.json")
_KEYS = {"policy", "version", "sha256", "reason", "revoked_at"}
_MAXIMUM_BYTES = 64 * 1024


@dataclass(frozen=True)
class Revocation:
    """What an officer takes back.

    Attributes:
        policy: the site's name, or `baseline`.
        version: which version; this is what counts.
        sha256: of that version's file; None where it is not at hand.
        reason: one line, for those whose jobs stop.
    """

    policy: str
    version: int
    sha256: str | None
    reason: str


@dataclass(frozen=True)
class Revoked:
    """A version that was taken back.

    Attributes:
        version: which.
        reason: why, in one line.
        by: name in the certificate of whoever signed it.
    """

    version: int
    reason: str
    by: str


def revocation_file(root: Path, name: str, version: int) -> Path:
    """Where the revocation of a policy's version lies."""
    return root / FOLDER / f"{name}-v{version}.json"


def is_reason(text: str) -> bool:
    """Whether ``text`` is one line of at most 200 characters that says something."""
    return bool(text.strip()) and len(text) <= MAXIMUM_REASON_CHARACTERS and text.isprintable()


def sign_revocation(revocation: Revocation, signer: Signer, certificate: x509.Certificate, now: datetime) -> bytes:
    """The revocation as the file that states it, signed with an officer's key."""
    statement = {
        "policy": revocation.policy,
        "version": revocation.version,
        "sha256": revocation.sha256,
        "reason": revocation.reason,
        "revoked_at": stamp(now),
    }
    return seal(KIND, canonical_json(statement), signer, certificate)


def read_revocation(content: bytes, file_name: str, anchors: Anchors) -> Revoked:
    """The version that a revocation takes back.

    Args:
        content: of the file.
        file_name: what the file is called.
        anchors: the authorities that count here, from this participant's own roster in force.

    Raises:
        SignatureError: where it is no revocation, or not one of what its file's name says.
    """
    envelope = unseal(KIND, content)
    stated = envelope.value()
    if not _is_statement(stated):
        raise SignatureError("the signed statement does not say what a revocation says")
    if file_name != f"{stated['policy']}-v{stated['version']}.json":
        raise SignatureError("the signed statement is not of the policy and version in the file's name")
    certificate = envelope.certificate
    if keys.weakness(certificate.public_key()):
        raise SignatureError("the signature was made with a key that is too weak")
    if anchors.issuer_of(certificate) is None:
        raise SignatureError("the signature is by somebody whom this federation's authority did not certify")
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return Revoked(stated["version"], stated["reason"], str(names[0].value) if names else "?")


def revoked_already(root: Path, name: str, version: int, anchors: Anchors) -> Revoked | None:
    """What takes a policy's version back already, if that can be verified."""
    path = revocation_file(root, name, version)
    try:
        return read_revocation(read_regular(path, _MAXIMUM_BYTES), path.name, anchors)
    except (CloisterError, OSError):
        return None


def check_not_revoked(
    root: Path, policy: Document[Policy], anchors: Anchors, versions: PolicyVersions | None = None
) -> None:
    """See that nobody has taken ``policy``'s version back.

    Args:
        root: the folder that holds the documents.
        policy: as it was read, or as a job was admitted under it.
        anchors: the authorities that count here, from this participant's own roster in force.
        versions: the site's memory, which is asked as well and remembers what is found; None where no site asks.

    Raises:
        DeniedError: where somebody has, or something there cannot be verified.
    """
    name, version = policy.value.policy, policy.value.version
    unverified: DeniedError | None = None
    for path in _files(root, name):
        try:
            found = read_revocation(read_regular(path, _MAXIMUM_BYTES), path.name, anchors)
        except (CloisterError, OSError) as error:
            unverified = unverified or _unverified(path, name, error)
            continue
        if found.version == version:
            if versions is not None:
                versions.remember_revoked(policy)
            message = f"version {version} of the policy of `{name}` was revoked by `{found.by}`: {found.reason}"
            raise DeniedError(message, hint=AGAIN)
    if unverified is not None:  # told last: what is verified is remembered, whatever lies beside it
        raise unverified
    if versions is not None:
        versions.check_not_revoked(policy)


def _files(root: Path, name: str) -> Iterator[Path]:
    """What lies in the folder under the name of the policy called ``name``.

    Raises:
        DeniedError: where the folder cannot be read.
    """
    folder = root / FOLDER
    if not folder.exists() and not folder.is_symlink():
        return
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DeniedError(f"`{FOLDER}` cannot be read, so every policy counts as revoked") from error
    # `north-x` and what lies under its name is not `north`'s; `north-v1.json.bak` and `north.old` are.
    begins = re.compile(rf"{re.escape(name)}(-v[0-9]|(?![a-z0-9-]))")
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match[1] == name if match else begins.match(path.name):
            yield path


def _unverified(path: Path, name: str, error: CloisterError | OSError) -> DeniedError:
    told = error.message.splitlines()[0] if isinstance(error, CloisterError) else "it cannot be read"
    message = f"the policy of `{name}` counts as revoked: `{FOLDER}/{path.name}` cannot be verified: {told}"
    return DeniedError(message, hint="an officer revokes the version that is meant, and the file is removed")


def _is_statement(value: dict[str, Any]) -> bool:
    return (
        value.keys() == _KEYS
        and isinstance(value["policy"], str)
        and type(value["version"]) is int
        and isinstance(value["reason"], str)
        and is_reason(value["reason"])
        and (value["sha256"] is None or isinstance(value["sha256"], str))
        and is_stamp(value["revoked_at"])
    )
