# SPDX-License-Identifier: Apache-2.0
"""Policies as their officers sign them, in this process, with the keys of a provisioned federation."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cloister.documents import load
from cloister.files import private_folder, sha256_of, write_atomically
from cloister.flare.state import State
from cloister.governance.policy_signature import sign_policy, signature_file
from cloister.governance.revocation import Revocation, revocation_file, sign_revocation
from cloister.policies import Policy
from cloister.provisioning import PrivateKey
from cloister.provisioning.pem import read_certificate
from tests.federation_folder import OFFICER


def sign_policies(
    root: Path, *names: str, by: str = OFFICER, keys: Path | None = None, now: datetime | None = None
) -> None:
    """Sign the policies called ``names``, or all, with ``by``'s key, whoever may.

    Args:
        root: the federation's folder.
        names: which; files that hold no policy are left out.
        by: whose key.
        keys: the folder of the federation that has it; ``root`` where not given.
        now: when; the present where not given.
    """
    startup = State(keys or root).person(by) / "startup"
    key, certificate = PrivateKey.load(startup / "client.key"), read_certificate(startup / "client.crt")
    for name in names or sorted(path.stem for path in (root / "policies").glob("*.yaml")):
        policy = load(root / "policies" / f"{name}.yaml", Policy, name=f"policies/{name}.yaml")
        when = now or datetime.now(UTC)
        value = policy.value
        content = sign_policy(value.policy, policy.text, value.version, key, certificate, when)
        write_atomically(signature_file(root, policy), content)


def revoke_policy(
    root: Path, name: str, *, by: str = OFFICER, keys: Path | None = None, reason: str = "why not"
) -> Path:
    """Revoke the version of the policy that lies there; returns the revocation's file."""
    startup = State(keys or root).person(by) / "startup"
    key, certificate = PrivateKey.load(startup / "client.key"), read_certificate(startup / "client.crt")
    policy = load(root / "policies" / f"{name}.yaml", Policy)
    revocation = Revocation(name, policy.value.version, sha256_of(policy.text), reason)
    path = revocation_file(root, name, policy.value.version)
    private_folder(path.parent)
    write_atomically(path, sign_revocation(revocation, key, certificate, datetime.now(UTC)))
    return path
