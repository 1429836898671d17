# SPDX-License-Identifier: Apache-2.0
"""The audit log of a site or of the server, as its processes write it: in the workspace, signed with its own key.

A site's parent and its job processes write into one log; so do the server's.
"""

from __future__ import annotations

import logging
import os
import pwd
from collections.abc import Collection, Mapping
from pathlib import Path

from cryptography import x509

from cloister import __version__
from cloister.audit import FOLDER, Fact, Kind, Log, Notary
from cloister.certificates import PrivateKey, read_certificate
from cloister.certificates.pem import fingerprint
from cloister.flare.state import SiteSettings
from cloister.governance.in_force import InForce
from cloister.policies import Decision

_LONGEST_REASON = 2000

_log = logging.getLogger(__name__)

_recorded: dict[Path, dict[str, Fact]] = {}  # what this process recorded last of the policy in force, by log


def log_of_site(settings: SiteSettings) -> Log:
    """The site's log."""
    return _log_in(settings.workspace, settings.site, "client")


def log_of_server(workspace: Path) -> Log:
    """The server's log; its certificate says what the server is called.

    Raises:
        CloisterError: where the certificate cannot be read.
    """
    certificate = read_certificate(workspace / "startup" / "server.crt")
    (name,) = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return _log_in(workspace, str(name.value), "server")


def _log_in(workspace: Path, name: str, stem: str) -> Log:
    startup = workspace / "startup"

    def notary() -> Notary:
        return Notary(PrivateKey.load(startup / f"{stem}.key"), read_certificate(startup / f"{stem}.crt"))

    return Log(workspace / FOLDER, name, notary)


def record_start(log: Log, certificate: Path) -> None:
    """Record that the participant's process begins, and with which certificate; nothing begins where that fails.

    Raises:
        CloisterError: where it cannot be recorded.
    """
    own = read_certificate(certificate)
    log.append(Kind.START, {"version": __version__, "process": "parent"})
    record_key(log, own)


def record_key(log: Log, certificate: x509.Certificate) -> None:
    """Record which certificate the participant shows from now on, and sign that with its key.

    Raises:
        CloisterError: where it cannot be recorded.
    """
    valid_until = certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    log.append(Kind.KEY, {"certificate": fingerprint(certificate), "valid_until": valid_until})
    log.checkpoint()


def record_policy(log: Log, in_force: InForce) -> None:
    """Record which policy the site decides by, where it is another than this process recorded last.

    Raises:
        AuditError: where it cannot be recorded.
    """
    policies = in_force.site.policies
    own, baseline = policies.site.value, policies.baseline.value
    facts: dict[str, Fact] = {"digest": policies.digest, "policy": own.policy, "version": own.version}
    facts |= {"signer": in_force.signed.by, "until": in_force.until.isoformat()}
    facts |= {"baseline_version": baseline.version, "baseline_signer": in_force.baseline_signed.by}
    if _recorded.get(log.path) == facts:  # signers and last day too: a policy may be signed anew as it is
        return
    log.append(Kind.POLICY, facts)
    _recorded[log.path] = facts


def record_end(log: Log, reason: str) -> None:
    """Record that the process ends, if that can still be done."""
    try:
        log.append(Kind.STOP, {"process": "parent", "reason": sentence(reason)})
        log.checkpoint()
    except Exception:  # noqa: BLE001 - the process ends either way; the next start shows that no stop came before it
        _log.exception("the end of the process could not be recorded")


def record_preview(log: Log, dataset: str, columns: Collection[str], records: int, policy: str) -> None:
    """Record that a person at the site is about to be shown records, and sign it; nothing is shown where that fails.

    Args:
        log: the site's.
        dataset: its name.
        columns: whose cells are shown.
        records: how many.
        policy: digest of the policy that says what may be shown.

    Raises:
        CloisterError: where it cannot be recorded.
    """
    facts: dict[str, Fact] = {"account": _account(), "dataset": dataset, "columns": tuple(columns)}
    log.append(Kind.PREVIEW, facts | {"records": records, "policy": policy})
    log.checkpoint()


def _account() -> str:
    """The operating system's name of whoever runs this process; no variable of theirs can say another."""
    try:
        return sentence(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return str(os.getuid())


def record_failure(log: Log, point: str, reason: str, *, job: str, number: int = 0) -> None:
    """Record that something failed or was refused, if that can be done; it is refused either way."""
    try:
        log.append(Kind.FAILURE, {"point": point, "reason": sentence(reason)}, job=job, number=number)
    except Exception:  # noqa: BLE001 - a gate that has denied already
        _log.exception("a failure in job %s could not be recorded", job)


def sign_log(log: Log) -> None:
    """Sign the log at a job's end, if that can be done; a later checkpoint covers the same entries."""
    try:
        log.checkpoint()
    except Exception:  # noqa: BLE001 - what was recorded stays recorded; a later checkpoint vouches for it
        _log.exception("the audit log could not be signed")


def facts_of_decision(decision: Decision) -> Mapping[str, Fact]:
    """Which way it went, and which rules refused or were waived."""
    refusing = {outcome.rule for outcome in decision.refusals}
    waived = {outcome.rule for outcome in decision.waived}
    return {
        "effect": "allow" if decision.allowed else "deny",
        "rules": _names(refusing),
        "waived": _names(waived),
        "reason": "" if decision.allowed else sentence(decision.sentence()),
    }


def _names(rules: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(rules))


def sentence(text: str) -> str:
    """``text`` as a fact: one line, without control characters, and not too long."""
    return "".join(character if character.isprintable() else " " for character in text)[:_LONGEST_REASON]
