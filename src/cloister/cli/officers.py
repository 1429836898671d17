# SPDX-License-Identifier: Apache-2.0
"""Officers' keys on this machine, and what is signed with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from cryptography import x509

from cloister.cli.console import Output
from cloister.cli.policy_names import policy_of
from cloister.documents import Document
from cloister.errors import DeniedError, FederationError, UsageError
from cloister.files import write_atomically
from cloister.flare.processes import LocalFederation
from cloister.governance.in_force import check_signature, is_unsigned, unsigned
from cloister.governance.policy_signature import Signed, check_may_follow, officers_of, sign_policy, signature_file
from cloister.governance.revocation import check_not_revoked
from cloister.policies import BASELINE, Policy
from cloister.provisioning import PrivateKey, identities, startup_folder
from cloister.provisioning.kit import ROOT_FILE
from cloister.provisioning.pem import read_certificate
from cloister.repository import Repository
from cloister.roster import ROSTER, Federation

SOON_DAYS = 30
"""How many days ahead an end is told of."""

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


def officer_of(federation: Federation, name: str, said: str) -> str:
    """Who speaks for the policy called ``name``, wherever their key lies.

    Args:
        federation: the roster.
        name: the policy's.
        said: who the person says they are; empty where they did not.

    Raises:
        DeniedError: where they may not, or nobody may.
        UsageError: where several may.
    """
    may = _officers(federation, name, said)
    return _only(may, f"{', '.join(may)} are officers of `{name}`")


def officer_for(local: LocalFederation, name: str, said: str) -> str:
    """Who signs for the policy called ``name`` with a key that lies on this machine; see `officer_of`.

    Raises:
        DeniedError: where they may not, or nobody may.
        UsageError: where their key is not here, or several are.
    """
    may = _officers(local.federation, name, said)
    here = [each for each in may if has_key(local, each)]
    if not here:
        hint = "run the command where the key is; `cloister provision` makes one"
        raise UsageError(f"no key of {' or '.join(may)} lies on this machine", hint=hint)
    return _only(here, f"keys of {', '.join(here)} lie on this machine")


def _officers(federation: Federation, name: str, said: str) -> Sequence[str]:
    may = officers_of(federation, name)
    hint = f"see `officers` and `baseline_officers` in {ROSTER}"
    if said and said not in may:
        raise DeniedError(f"`{said}` may not sign the policy of `{name}`", hint=hint)
    if not may:
        raise DeniedError(f"the roster names nobody who may sign the policy of `{name}`", hint=hint)
    return (said,) if said else may


def _only(people: Sequence[str], several: str) -> str:
    if len(people) > 1:
        raise UsageError(several, hint="say who you are with --as OFFICER")
    return people[0]


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


def left_alone(repo: Repository, local: LocalFederation, name: str, now: datetime) -> str:
    """What is said of a policy that is not to be signed where nobody names it; empty for one that is."""
    policy, authority = policy_of(repo, name), authority_of(local)
    try:
        check_not_revoked(repo.root, policy, authority)
    except DeniedError as error:
        return f"is not signed: {error.message}"
    if now.date() > policy.value.valid_until:
        return f"is not signed: it ended on {policy.value.valid_until}"
    try:
        check_signature(repo.root, policy, local.federation, authority, now)
    except DeniedError:
        return ""
    return "is signed already"


def lapses_soon(policy: Document[Policy], signed: Signed, today: date) -> str:
    """What is said of a signature that ends within 30 days, with its officer's certificate and before the policy."""
    days = (signed.lapses - today).days
    if signed.lapses >= policy.value.valid_until or days > SOON_DAYS:
        return ""
    return f"the signature of `{signed.by}` lapses on {signed.lapses} with their certificate, in {days} days"


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
