# SPDX-License-Identifier: Apache-2.0
"""Officers' keys on this machine, and what is signed with them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from cryptography import x509

from cloister.certificates import Anchors, PrivateKey, identities, startup_folder
from cloister.certificates.pem import read_certificate
from cloister.cli.console import Output
from cloister.cli.policy_names import policy_of
from cloister.documents import Document
from cloister.errors import CloisterError, DeniedError, FederationError, InvalidDocumentsError, UsageError
from cloister.files import write_atomically
from cloister.flare.processes import LocalFederation
from cloister.governance.in_force import check_dates, check_signature, is_unsigned, unsigned
from cloister.governance.policy_signature import (
    Signed,
    check_may_follow,
    check_policy_signature,
    officers_of,
    sign_policy,
    signature_file,
)
from cloister.governance.revocation import check_not_revoked
from cloister.policies import BASELINE, Policy
from cloister.policies.decision import listed, quoted
from cloister.repository import Repository, coverage_problems, failed_cases
from cloister.roster import ROSTER, Federation
from cloister.trust import roster_file, trust_in_force

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
        untested: what its cases show to be wrong with it; empty where they hold and try each rule.
    """

    policy: str
    version: int
    by: str
    untested: str = ""


def anchors_of(local: LocalFederation) -> Anchors:
    """The authorities that count, from the first workspace on this machine that has a roster in force.

    Raises:
        FederationError: where none has.
        CloisterError: where it cannot be read.
    """
    for identity in identities(local.federation):
        workspace = startup_folder(local.state.folder, identity).parent
        if roster_file(workspace).exists():
            return trust_in_force(workspace).anchors
    raise FederationError("there is no signed roster on this machine", hint="run `cloister provision`, or join")


def officer_of(federation: Federation, name: str, said: str) -> str:
    """Who speaks for the policy called ``name``, wherever their key lies.

    Args:
        federation: the roster.
        name: the policy's.
        said: who the person says they are; empty where they did not.

    Raises:
        DeniedError: where they may not, or nobody may.
        UsageError: where several may, or they are not in the roster.
    """
    may = _officers(federation, name, said)
    return _only(may, f"{', '.join(may)} are officers of `{name}`")


def officer_for(local: LocalFederation, name: str, said: str) -> str:
    """Who signs for the policy called ``name`` with a key that lies on this machine; see `officer_of`.

    Raises:
        DeniedError: where they may not, or nobody may.
        UsageError: where their key is not here, several are, or they are not in the roster.
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
    check_in_roster(federation, said)
    if said and said not in may:
        raise DeniedError(f"`{said}` may not sign the policy of `{name}`", hint=hint)
    if not may:
        raise DeniedError(f"the roster names nobody who may sign the policy of `{name}`", hint=hint)
    return (said,) if said else may


def check_in_roster(federation: Federation, said: str) -> None:
    """See that the person whom somebody said they are, if they did, is one.

    Raises:
        UsageError: where the roster has no such person.
    """
    if said and federation.person(said) is None:
        near = difflib.get_close_matches(said, [person.name for person in federation.people], n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"see `people` in {ROSTER}"
        raise UsageError(f"`{said}` is not in the roster", hint=hint)


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
        DeniedError: where what lies in the person's folder is somebody else's.
        ProvisioningError: where one of them cannot be read.
    """
    startup = local.state.person(person) / "startup"
    key, certificate = PrivateKey.load(startup / _KEY), read_certificate(startup / _CERTIFICATE)
    check_is_of(certificate, person, startup)
    return key, certificate


def check_is_theirs(local: LocalFederation, person: str) -> None:
    """See that the certificate in a person's folder is theirs, where there is one on this machine.

    Raises:
        DeniedError: where it is somebody else's.
        ProvisioningError: where it cannot be read.
    """
    startup = local.state.person(person) / "startup"
    if (startup / _CERTIFICATE).exists():
        check_is_of(read_certificate(startup / _CERTIFICATE), person, startup)


def check_is_of(certificate: x509.Certificate, person: str, folder: Path) -> None:
    """See that ``certificate`` names ``person``; a folder bears a name that nobody vouches for.

    Raises:
        DeniedError: where it names somebody else.
    """
    named = [str(name.value) for name in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    if named != [person]:
        message = f"the certificate in `{folder}` is of {quoted(', '.join(named))} and not of `{person}`"
        raise DeniedError(message, hint="say who you are with --as OFFICER, and keep each key in its owner's folder")


def signable(repo: Repository, local: LocalFederation, said: str = "") -> list[str]:
    """Names of the policies for which an officer's key lies here: any officer's, or the one's that was ``said``."""
    return [
        name
        for name in sorted(repo.policies)
        if any(has_key(local, each) for each in officers_of(local.federation, name) if said in ("", each))
    ]


def sign_one(
    repo: Repository, local: LocalFederation, name: str, officer: str, now: datetime, *, untested: bool = False
) -> NewSignature:
    """Sign a policy and put the signature beside it.

    Args:
        repo: the documents.
        local: where the keys lie.
        name: the policy's.
        officer: who signs.
        now: aware time, UTC.
        untested: whether to sign although its cases do not hold, or do not try each of its rules.

    Raises:
        DeniedError: where the version was revoked, has ended, was signed with other content, is below one that was
            signed, or where the signature would not count because it is not by ``officer``.
        InvalidDocumentsError: where a rule is tried by no case.
        CloisterError: where a case does not hold.
        ProvisioningError: where the officer's key cannot be used.
    """
    policy, anchors = policy_of(repo, name), anchors_of(local)
    path = signature_file(repo.root, policy)
    check_not_revoked(repo.root, policy, anchors)
    if now.date() > policy.value.valid_until:
        check_dates(policy, now)
    if path.is_file():
        check_may_follow(policy, path.read_bytes(), local.federation, anchors)
    doubt = ""
    try:
        _check_cases(repo, name)
    except CloisterError as error:
        if not untested:
            raise
        doubt = error.message
    key, certificate = key_of(local, officer)
    content = sign_policy(name, policy.text, policy.value.version, key, certificate, now)
    check_policy_signature(policy, content, local.federation, anchors, now)
    write_atomically(path, content, mode=0o644)
    return NewSignature(name, policy.value.version, officer, doubt)


def _check_cases(repo: Repository, name: str) -> None:
    """See that the cases at a policy hold, and that they try each of its rules."""
    names = frozenset({name})
    for problem in failed_cases(repo, names):
        raise CloisterError(f"{problem.file}: {problem.message}", hint=problem.hint)
    if problems := coverage_problems(repo, names):
        raise InvalidDocumentsError(problems)


def left_alone(repo: Repository, local: LocalFederation, name: str, now: datetime) -> str:
    """What is said of a policy that is not to be signed where nobody names it; empty for one that is."""
    policy, anchors = policy_of(repo, name), anchors_of(local)
    try:
        check_not_revoked(repo.root, policy, anchors)
    except DeniedError as error:
        return f"is not signed: {error.message}"
    if now.date() > policy.value.valid_until:
        return f"is not signed: it ended on {policy.value.valid_until}"
    try:
        check_signature(repo.root, policy, local.federation, anchors, now)
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
        DeniedError: where one has none; names all that have none.
    """
    found = [policy for name in (*sites, BASELINE) if is_unsigned(repo.root, policy := policy_of(repo, name))]
    if len(found) == 1:
        raise unsigned(found[0], repo.federation.value)
    if found:
        files = listed([policy.source.file for policy in found])
        hint = "their officers sign them: cloister policy sign"
        raise DeniedError(f"{files} are not signed", hint=hint)
