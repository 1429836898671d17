# SPDX-License-Identifier: Apache-2.0
"""One participant's key, certificate and roots: read into a value, and judged as a value.

`faults` is pure; `read_kit` is its thin reader; `check_kit` is the gate that stands before a process is started.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import keys, pem, profile
from cloister.certificates.anchors import ROOT_FILE, Anchors, read_roots
from cloister.certificates.identity import Identity
from cloister.certificates.objections import Ground, Objection, objections
from cloister.errors import ProvisioningError


class Fault(StrEnum):
    """What can be wrong with a participant's files."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    KEY_EXPOSED = "key readable by others"
    FOLDER_EXPOSED = "folder open to others"
    OTHER_KEY = "certificate does not belong to key"
    OTHER_AUTHORITY = "signed by another authority"
    NO_AUTHORITY = "root is not an authority"
    EXPIRED = "expired"
    REVOKED = "revoked"
    OVERDUE = "renewal overdue"
    STALE_ROSTER = "roster stale"
    NOT_YET_VALID = "not yet valid"
    NOT_IN_ROSTER = "differs from the roster"
    REFUSED = "refused by certificate path validation"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        fault: which kind of thing.
        message: one sentence, lower case, without full stop.
        hint: how to mend it.
    """

    fault: Fault
    message: str
    hint: str = ""


@dataclass(frozen=True)
class KitPaths:
    """Where NVFlare looks for a participant's files."""

    key: Path
    certificate: Path
    root: Path

    @classmethod
    def of(cls, startup: Path, identity: Identity) -> KitPaths:
        """The paths in ``startup``: `server.*` for the server, `client.*` for everybody else."""
        stem = "server" if identity.kind == "server" else "client"
        return cls(startup / f"{stem}.key", startup / f"{stem}.crt", startup / ROOT_FILE)


@dataclass(frozen=True)
class Kit:
    """What a startup folder was found to hold.

    Attributes:
        paths: where it was looked for.
        public_key: of the private key; None where that could not be used.
        certificate: the participant's; None where it could not be read.
        roots: the authorities'; empty where they could not be read.
        findings: what was wrong already when reading.
    """

    paths: KitPaths
    public_key: rsa.RSAPublicKey | None
    certificate: x509.Certificate | None
    roots: tuple[x509.Certificate, ...]
    findings: tuple[Finding, ...] = ()


def read_kit(startup: Path, identity: Identity) -> Kit:
    """Read the files of ``identity`` from ``startup``; what cannot be read is a finding, not an error."""
    paths = KitPaths.of(startup, identity)
    findings: list[Finding] = []
    if keys.is_loose(startup):
        message = f"the folder `{startup}` is open to others"
        findings.append(Finding(Fault.FOLDER_EXPOSED, message, f"chmod 700 {startup}"))
    public_key = read_public_key(paths.key, findings)
    certificate = read_certificate(paths.certificate, findings)
    roots = read_known_roots(paths.root, findings)
    return Kit(paths, public_key, certificate, roots, tuple(findings))


def read_public_key(path: Path, findings: list[Finding]) -> rsa.RSAPublicKey | None:
    """The public half of the private key at ``path``; where it cannot be used, None and a finding more."""
    try:
        return keys.read_public_key(path)
    except ProvisioningError as error:
        findings.append(_unread(error, Fault.KEY_EXPOSED if keys.is_loose(path) else Fault.UNREADABLE))
        return None


def read_certificate(path: Path, findings: list[Finding]) -> x509.Certificate | None:
    """The certificate at ``path``; where it cannot be read, None and a finding more."""
    try:
        return pem.read_certificate(path)
    except ProvisioningError as error:
        findings.append(_unread(error, Fault.UNREADABLE))
        return None


def read_known_roots(path: Path, findings: list[Finding]) -> tuple[x509.Certificate, ...]:
    """The authorities' certificates at ``path``; where they cannot be read, none and a finding more."""
    try:
        return read_roots(path)
    except ProvisioningError as error:
        findings.append(_unread(error, Fault.UNREADABLE))
        return ()


def _unread(error: ProvisioningError, fault: Fault) -> Finding:
    missing = isinstance(error.__cause__, FileNotFoundError)
    return Finding(Fault.MISSING if missing else fault, error.message, error.hint)


def faults(kit: Kit, identity: Identity, now: datetime, anchors: Anchors | None = None) -> tuple[Finding, ...]:
    """Everything that is wrong with ``kit``, gravest first.

    Args:
        kit: what was read.
        identity: the roster's entry that it must belong to.
        now: aware time to judge validity at.
        anchors: the federation's own authorities where they are known; the kit's must be those.
    """
    return (*kit.findings, *_certificate_faults(kit, identity, now, anchors))


def _certificate_faults(kit: Kit, identity: Identity, now: datetime, anchors: Anchors | None) -> Iterator[Finding]:
    if anchors is not None and kit.roots and set(kit.roots) != set(anchors.roots):
        message = f"`{kit.paths.root}` is not the certificate of this federation's authority"
        yield Finding(Fault.OTHER_AUTHORITY, message)
    trusted = anchors or Anchors(kit.roots)
    certificate, path = kit.certificate, kit.paths.certificate
    yield from _root_faults(kit.paths.root, trusted, certificate, now)
    if certificate is None:
        return
    if kit.public_key is not None and certificate.public_key() != kit.public_key:
        yield Finding(Fault.OTHER_KEY, f"the certificate `{path}` does not belong to the key beside it")
    for objection in objections(certificate, identity, trusted, now):
        if objection.ground is Ground.OTHER_AUTHORITY and not trusted.roots:
            continue  # nobody can tell, and what is wrong with the roots has been said
        if objection.ground is Ground.NO_AUTHORITY:
            continue  # said of the root
        yield _finding(path, objection)
        if objection.ground is Ground.OTHER_AUTHORITY:
            return


_HINTS = {
    Ground.NOT_IN_ROSTER: "provision again to have it replaced",
    Ground.NOT_YET_VALID: "check this machine's clock",
    Ground.EXPIRED: "have the authority sign a new one: see `cloister renew`",
}


def _finding(path: Path, objection: Objection) -> Finding:
    hint = _HINTS.get(objection.ground, objection.hint)
    return Finding(Fault[objection.ground.name], f"the certificate `{path}` {objection.words}", hint)


def _root_faults(
    path: Path, anchors: Anchors, certificate: x509.Certificate | None, now: datetime
) -> Iterator[Finding]:
    """What is wrong with the roots.

    Of two authorities the dates of the one that signed the certificate count: the outgoing one may end while the
    incoming one goes on.
    """
    signer = anchors.issuer_of(certificate) if certificate is not None else None
    for root in anchors.roots:
        faults_of_it = tuple(root_faults(path, root, now))
        if signer in (None, root) or any(each.fault is Fault.NO_AUTHORITY for each in faults_of_it):
            yield from faults_of_it


def root_faults(path: Path, root: x509.Certificate, now: datetime) -> Iterator[Finding]:
    """What is wrong with the authority's certificate that was read from ``path``."""
    if not profile.is_root(root) or keys.weakness(root.public_key()):
        yield Finding(Fault.NO_AUTHORITY, f"`{path}` is not the certificate of a federation's authority")
    else:
        yield from _validity_faults(path, root, now)


def _validity_faults(path: Path, certificate: x509.Certificate, now: datetime) -> Iterator[Finding]:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        message = f"the certificate `{path}` is not valid before {begin:%Y-%m-%d %H:%M} UTC"
        yield Finding(Fault.NOT_YET_VALID, message, "check this machine's clock")
    # Valid through the last second named (RFC 5280, 4.1.2.5).
    if now > end:
        message = f"the certificate `{path}` expired on {end:%Y-%m-%d %H:%M} UTC"
        yield Finding(Fault.EXPIRED, message, "have the authority sign a new one: see `cloister renew`")


def check_kit(startup: Path, identity: Identity, now: datetime, anchors: Anchors | None = None) -> None:
    """Refuse to start a process with the files in ``startup`` unless all of them are right for ``identity``.

    Args:
        startup: the folder.
        identity: the roster's entry.
        now: aware time.
        anchors: the authorities of the roster in force; the kit's own where they are not known.

    Raises:
        ProvisioningError: naming the first thing that is wrong.
    """
    kit = read_kit(startup, identity)
    if found := faults(kit, identity, now, anchors):
        raise ProvisioningError(found[0].message, hint=found[0].hint)
    keys.PrivateKey.load(kit.paths.key)  # proves the primes, which reading the public half did not
