# SPDX-License-Identifier: Apache-2.0
"""Officers' keys on this machine, and what is signed with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from cloister.cli.console import Output
from cloister.documents import Document
from cloister.errors import DeniedError, FederationError, UsageError
from cloister.files import write_atomically
from cloister.flare.processes import LocalFederation
from cloister.governance.in_force import check_policy, is_unsigned, unsigned
from cloister.governance.policy_signature import check_may_follow, officers_of, sign_policy, signature_file
from cloister.policies import BASELINE, Policy
from cloister.provisioning import PrivateKey, identities, startup_folder
from cloister.provisioning.kit import ROOT_FILE
from cloister.provisioning.pem import read_certificate
from cloister.repository import Repository

_KEY, _CERTIFICATE = "client.key", "client.crt"


@dataclass(frozen=True)
class NewSignature:
    """A policy that was signed just now.

    Attributes:
        policy: the site's name, or `baseline`.
        version: that was signed.
        by: the officer.
    """

    policy: str
    version: int
    by: str


def authority_of(local: LocalFederation) -> x509.Certificate:
    """The authority's certificate, from the first kit on this machine that has it.

    Raises:
        FederationError: where none has.
        ProvisioningError: where it cannot be read.
    """
    for identity in identities(local.federation):
        path = startup_folder(local.state.folder, identity) / ROOT_FILE
        if path.exists():
            return read_certificate(path)
    raise FederationError("there is no certificate of the authority on this machine", hint="run `cloister provision`")


def policy_of(repo: Repository, name: str) -> Document[Policy]:
    """The policy of the site called ``name``, or the baseline.

    Raises:
        UsageError: where there is none.
    """
    found = repo.policies.get(name)
    if found is None:
        raise UsageError(f"there is no policy `{name}`", hint=f"policies here: {', '.join(sorted(repo.policies))}")
    return found


def officer_for(local: LocalFederation, name: str, said: str) -> str:
    """Who signs for the policy called ``name`` on this machine.

    Args:
        local: the federation on this machine.
        name: the policy's.
        said: who the person says they are; empty where they did not.

    Raises:
        DeniedError: where they may not, or nobody may.
        UsageError: where their key is not here, or several are.
    """
    may = officers_of(local.federation, name)
    where = "see `officers` and `baseline_officers` in provisioning/federation.yaml"
    if said and said not in may:
        raise DeniedError(f"`{said}` may not sign the policy of `{name}`", hint=where)
    if not may:
        raise DeniedError(f"the roster names nobody who may sign the policy of `{name}`", hint=where)
    here = [each for each in ((said,) if said else may) if has_key(local, each)]
    if not here:
        hint = "run the command where the key is; `cloister provision` makes one"
        raise UsageError(f"no key of {said or ' or '.join(may)} lies on this machine", hint=hint)
    if len(here) > 1:
        raise UsageError(f"keys of {', '.join(here)} lie on this machine", hint="say who you are with --as OFFICER")
    return here[0]


def has_key(local: LocalFederation, person: str) -> bool:
    """Whether a person's key lies on this machine."""
    return (local.state.person(person) / "startup" / _KEY).is_file()


def key_of(local: LocalFederation, person: str) -> tuple[PrivateKey, x509.Certificate]:
    """A person's key and certificate.

    Raises:
        ProvisioningError: where one of them cannot be read.
    """
    startup = local.state.person(person) / "startup"
    return PrivateKey.load(startup / _KEY), read_certificate(startup / _CERTIFICATE)


def signable(repo: Repository, local: LocalFederation, said: str = "") -> list[str]:
    """Names of the policies for which an officer's key lies here: any officer's, or the one's that was ``said``."""
    return [
        name
        for name in sorted(repo.policies)
        if any(has_key(local, each) for each in officers_of(local.federation, name) if said in ("", each))
    ]


def sign_one(repo: Repository, local: LocalFederation, name: str, officer: str, now: datetime) -> NewSignature:
    """Sign a policy and put the signature beside it.

    Raises:
        DeniedError: where the same version was signed with other content, or a higher one.
        ProvisioningError: where the officer's key cannot be used.
    """
    policy = policy_of(repo, name)
    path = signature_file(repo.root, policy)
    if path.is_file():
        check_may_follow(policy, path.read_bytes(), local.federation, authority_of(local))
    key, certificate = key_of(local, officer)
    content = sign_policy(name, policy.text, policy.value.version, key, certificate, now)
    write_atomically(path, content, mode=0o644)
    return NewSignature(name, policy.value.version, officer)


def is_signed(repo: Repository, local: LocalFederation, name: str, now: datetime) -> bool:
    """Whether a policy is signed, within its dates and not revoked."""
    try:
        check_policy(repo.root, policy_of(repo, name), local.federation, authority_of(local), now)
    except DeniedError:
        return False
    return True


def sign_unsigned(repo: Repository, local: LocalFederation, names: Iterable[str], now: datetime, out: Output) -> None:
    """Sign what nobody has signed, with the officers' keys that lie here; for the demonstration, where all of them do.

    Raises:
        CloisterError: where a key cannot be used.
    """
    signed = [
        sign_one(repo, local, name, officer, now)
        for name in names
        if is_unsigned(repo.root, policy_of(repo, name))
        for officer in officers_of(local.federation, name)[:1]
        if has_key(local, officer)
    ]
    if signed:
        out.say(f"signed {len(signed)} policies with their officers' keys, which in the demonstration all lie here")


def check_signed(repo: Repository, sites: Iterable[str]) -> None:
    """See that the policies of ``sites`` and the baseline have signatures, so that nobody waits for a sure refusal.

    Raises:
        DeniedError: where one has none.
    """
    for name in (*sites, BASELINE):
        policy = policy_of(repo, name)
        if is_unsigned(repo.root, policy):
            raise unsigned(policy, repo.federation.value)
