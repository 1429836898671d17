# SPDX-License-Identifier: Apache-2.0
"""A participant's log on its own machine: checked against what the participant remembers of it, and for its removal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cryptography import x509

from cloister.audit.event import FIRST
from cloister.audit.last_checkpoint import LastCheckpoint, path_of
from cloister.audit.log import FILE
from cloister.audit.reader import lines
from cloister.audit.verify import Broken, Fault, Report, verify
from cloister.errors import AuditError


def verify_own(
    folder: Path, certificate: x509.Certificate, roots: Sequence[x509.Certificate], participant: str
) -> Report:
    """Verify the log in ``folder`` as `verify` does, and more: it, and the memory beside it, must be there and agree.

    Args:
        folder: where the log lies.
        certificate: the participant's.
        roots: the authorities', also those of former ones.
        participant: whose log it must be.

    Raises:
        AuditError: where the log cannot be read.
    """
    try:
        remembered = LastCheckpoint.read(folder)  # before the log, which may grow meanwhile and never shrinks
    except AuditError as error:
        return Report(participant, 0, 0, 0, FIRST, Broken(0, Fault.FORGOTTEN, error.message))
    if not (folder / FILE).exists():
        message = "the log was removed: the participant has run, and writes its start into it"
        return Report(participant, 0, 0, 0, FIRST, Broken(0, Fault.MISSING, message))
    report = verify(lines(folder / FILE), certificate, roots, participant, remembered)
    if remembered is None and report.entries and report.broken is None:
        message = (
            f"the memory of the last checkpoint `{path_of(folder)}` was removed: nothing tells whether the log was cut"
        )
        return replace(report, broken=Broken(0, Fault.FORGOTTEN, message))
    return report
