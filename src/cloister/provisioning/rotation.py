# SPDX-License-Identifier: Apache-2.0
"""The authority hands over to a next generation of itself, while the federation goes on.

1. `announce`: the next generation is made and trusted beside the present one, which signs on. Every participant learns
   of it from the next roster.
2. `switch`: the next generation signs certificates. Everybody is renewed, at their own time.
3. `finish`: the outgoing generation is trusted no more, once nobody's only certificate is by it.

Each step is one write that says which generations count, followed by a new roster; a step that was interrupted in
between is taken again, and changes nothing twice.
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509

from cloister.certificates import profile
from cloister.certificates.identity import identities
from cloister.certificates.lock import exclusively
from cloister.errors import ProvisioningError
from cloister.provisioning.authority import Authority, Generations, make_generation, read_generations, write_generations
from cloister.provisioning.publication import publish
from cloister.provisioning.revoking import living_by_name
from cloister.roster import Federation


def announce(authority: Authority, federation: Federation, now: datetime) -> Authority:
    """Make the next generation and have it trusted; returns the authority as it is then.

    Raises:
        ProvisioningError: where one has been announced and not finished, or ``federation`` is another's.
    """
    authority.check_serves(federation)
    standing = authority.generations
    if len(standing.trusted) > 1 and standing.signing != min(standing.trusted):
        raise ProvisioningError("the authority is handing over already", hint="finish that first")
    with exclusively(authority.folder):
        _check_still(authority)
        following = max(standing.trusted) + (1 if len(standing.trusted) == 1 else 0)
        make_generation(authority.folder, federation, now, following)
        write_generations(authority.folder, Generations((standing.signing, following), standing.signing))
    return _published(authority, federation, now)


def switch(authority: Authority, federation: Federation, now: datetime) -> Authority:
    """Have the next generation sign from now on; returns the authority as it is then.

    Raises:
        ProvisioningError: where none was announced, or ``federation`` is another's.
    """
    authority.check_serves(federation)
    standing = authority.generations
    if len(standing.trusted) == 1:
        hint = "announce the next authority first, and wait until everybody has the new roster"
        raise ProvisioningError("the authority is not handing over", hint=hint)
    with exclusively(authority.folder):
        _check_still(authority)
        write_generations(authority.folder, Generations(standing.trusted, max(standing.trusted)))
    return _published(authority, federation, now)


def finish(authority: Authority, federation: Federation, now: datetime, *, anyway: bool = False) -> Authority:
    """Trust the outgoing generation no more; returns the authority as it is then.

    Args:
        authority: as it is.
        federation: the document.
        now: aware time.
        anyway: whether to do so although somebody would be locked out.

    Raises:
        ProvisioningError: where the next one does not sign yet, somebody has no certificate by it, or ``federation`` is
            another's.
    """
    authority.check_serves(federation)
    standing = authority.generations
    if len(standing.trusted) == 1 or standing.signing == min(standing.trusted):
        hint = "first announce the next authority, then switch to it, then renew everybody"
        raise ProvisioningError("the next authority does not sign yet", hint=hint)
    if not anyway and (waiting := not_renewed(authority, federation, now)):
        shown = ", ".join(waiting[:5]) + (" and others" if len(waiting) > 5 else "")
        hint = "wait until they have renewed, or finish anyway: they then need a new kit by hand"
        raise ProvisioningError(f"{shown} would be locked out: no certificate by the new authority yet", hint=hint)
    with exclusively(authority.folder):
        _check_still(authority)
        write_generations(authority.folder, Generations((standing.signing,), standing.signing))
    return _published(authority, federation, now)


def not_renewed(authority: Authority, federation: Federation, now: datetime) -> tuple[str, ...]:
    """Names of those who have a certificate, and none by the generation that signs now."""
    everybodys = living_by_name(authority, now)
    return tuple(
        identity.name
        for identity in identities(federation)
        if (living := everybodys.get(identity.name)) and not _any_by(authority.certificate, living)
    )


def _any_by(root: x509.Certificate, certificates: tuple[x509.Certificate, ...]) -> bool:
    return any(profile.is_issued_by(each, root) for each in certificates)


def _check_still(authority: Authority) -> None:
    """See that nobody took a step meanwhile: a root that is trusted no more would be again; the caller holds the lock.

    Raises:
        ProvisioningError: where somebody did.
    """
    if read_generations(authority.folder) != authority.generations:
        hint = "see how it stands, then do it again: cloister authority list"
        raise ProvisioningError("another command has changed which authority counts meanwhile", hint=hint)


def _published(authority: Authority, federation: Federation, now: datetime) -> Authority:
    after = Authority.open(authority.folder)
    publish(after, federation, now)
    return after
