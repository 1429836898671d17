# SPDX-License-Identifier: Apache-2.0
"""Policies as their officers sign them, in this process, with the keys of a provisioned federation."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cloister.certificates import PrivateKey
from cloister.certificates.pem import read_certificate
from cloister.documents import load
from cloister.files import private_folder, sha256_of, write_atomically
from cloister.flare.state import State
from cloister.governance.policy_signature import sign_policy, signature_file
from cloister.governance.revocation import Revocation, revocation_file, sign_revocation
from cloister.policies import Policy
from tests.federation_folder import OFFICER, merged, write_document


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
    key, certificate = _key((startup / "client.key").read_bytes()), read_certificate(startup / "client.crt")
    for name in names or sorted(path.stem for path in (root / "policies").glob("*.yaml")):
        policy = load(root / "policies" / f"{name}.yaml", Policy, name=f"policies/{name}.yaml")
        when = now or datetime.now(UTC)
        value = policy.value
        content = sign_policy(value.policy, policy.text, value.version, key, certificate, when)
        write_atomically(signature_file(root, policy), content)


@contextmanager
def changed_policies(root: Path, changes: Mapping[str, Any], *names: str) -> Iterator[None]:
    """Lay ``changes`` over policies under a higher version, signed; afterwards what stood there, under a higher one."""
    before = {name: yaml.safe_load((root / "policies" / f"{name}.yaml").read_text(encoding="utf-8")) for name in names}
    try:
        for name, tree in before.items():
            write_document(root, f"policies/{name}.yaml", merged(tree, {**changes, "version": tree["version"] + 1}))
        sign_policies(root, *names)
        yield
    finally:
        for name, tree in before.items():
            write_document(root, f"policies/{name}.yaml", {**tree, "version": tree["version"] + 2})
        sign_policies(root, *names)


def revoke_policy(
    root: Path, name: str, *, by: str = OFFICER, keys: Path | None = None, reason: str = "why not"
) -> Path:
    """Revoke the version of the policy that lies there; returns the revocation's file."""
    startup = State(keys or root).person(by) / "startup"
    key, certificate = _key((startup / "client.key").read_bytes()), read_certificate(startup / "client.crt")
    policy = load(root / "policies" / f"{name}.yaml", Policy)
    revocation = Revocation(name, policy.value.version, sha256_of(policy.text), reason)
    path = revocation_file(root, name, policy.value.version)
    private_folder(path.parent)
    write_atomically(path, sign_revocation(revocation, key, certificate, datetime.now(UTC)))
    return path


@functools.cache
def _key(pem: bytes) -> PrivateKey:
    key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)  # validation takes longer than signing
    assert isinstance(key, RSAPrivateKey)
    return PrivateKey(key)
