# SPDX-License-Identifier: Apache-2.0
"""Taking a policy's version back, also from jobs that run under it.

`policies/revoked/<name>-v<version>.json` is an envelope that an officer of that policy signed. The file's name alone
takes the version back, whatever it holds: nobody gains by forging a stop. What lies there for the policy and cannot be
verified takes every version back, because it may have been one that does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from cloister.documents import Document, load
from cloister.envelope import Signer, seal, unseal
from cloister.errors import CloisterError, DeniedError, SignatureError
from cloister.files import canonical_json
from cloister.governance.policy_signature import is_stamp, officers_of, stamp
from cloister.policies import Policy
from cloister.provisioning import signer_of
from cloister.roster import ROSTER, Federation

KIND = "application/vnd.cloister.policy-revocation+json"
FOLDER = "policies/revoked"
MAXIMUM_REASON_CHARACTERS = 200

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


def revocation_file(root: Path, name: str, version: int) -> Path:
    """Where the revocation of a policy's version lies."""
    return root / FOLDER / f"{name}-v{version}.json"


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


def check_not_revoked(root: Path, policy: Document[Policy], authority: x509.Certificate) -> None:
    """See that nobody has taken ``policy``'s version back.

    Args:
        root: the folder that holds the documents.
        policy: as it was read, or as a job was admitted under it.
        authority: the authority's certificate, from this participant's own kit.

    Raises:
        DeniedError: where somebody has, or something there cannot be verified.
    """
    name, version = policy.value.policy, policy.value.version
    folder = root / FOLDER
    if not folder.exists() and not folder.is_symlink():
        return
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DeniedError(f"`{FOLDER}` cannot be read, so every policy counts as revoked") from error
    for path in paths:
        if path.name.startswith("."):  # what a crash left of an unfinished write; it never had its name
            continue
        match = _NAME.fullmatch(path.name)
        if match is None and not path.name.startswith(name):
            continue
        if match is not None and match[1] != name:
            continue
        file = f"{FOLDER}/{path.name}"
        try:
            said, reason, by = _verified(path, name, root, authority)
        except (CloisterError, OSError) as error:
            told = error.message if isinstance(error, CloisterError) else "it cannot be read"
            hint = "whoever put it there signs it, or it is removed"
            message = f"the policy of `{name}` counts as revoked: `{file}` cannot be verified: {told.splitlines()[0]}"
            raise DeniedError(message, hint=hint) from error
        if match is None or version in (said, int(match[2])):
            message = f"version {version} of the policy of `{name}` was revoked by `{by}`: {reason}"
            raise DeniedError(message, hint="the site takes jobs again under a higher version")


def _verified(path: Path, name: str, root: Path, authority: x509.Certificate) -> tuple[int, str, str]:
    """The version that the revocation at ``path`` names, its reason, and who signed it.

    The certificate must have been valid when it was signed: a revocation does not lapse with its signer's certificate.

    Raises:
        CloisterError: where it is no revocation that an officer of the policy signed.
        OSError: where it cannot be read.
    """
    with path.open("rb") as stream:
        envelope = unseal(KIND, stream.read(_MAXIMUM_BYTES + 1))
    stated = envelope.value()
    if stated.keys() != _KEYS or not is_stamp(stated["revoked_at"]):
        raise SignatureError("the signed statement does not say what a revocation says")
    if stated["policy"] != name or type(stated["version"]) is not int or not isinstance(stated["reason"], str):
        raise SignatureError("the signed statement is not of this policy")
    federation = load(root / ROSTER, Federation, name=ROSTER).value
    signer = signer_of(envelope, federation, authority, datetime.fromisoformat(stated["revoked_at"]))
    if signer.kind != "person" or signer.name not in officers_of(federation, name):
        raise SignatureError(f"it is signed by `{signer.name}`, who may not revoke the policy of `{name}`")
    return stated["version"], stated["reason"][:MAXIMUM_REASON_CHARACTERS], signer.name
