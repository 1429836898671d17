# SPDX-License-Identifier: Apache-2.0
"""`cloister audit verify`: is a log what was written?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509

from cloister.audit import Report, lines, verify
from cloister.certificates import pem, read_certificate
from cloister.cli.local_log import expected_logs, named
from cloister.cli.options import FolderOption, JsonOption, output
from cloister.errors import AuditError, UsageError

_MOST_ROOTS = 30
_FILE = "The log, where it does not lie in this folder; needs --certificate."


def verify_logs(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A site, or the server; all where not given.")] = "",
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help=_FILE)] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="FILE", help="The participant's certificate.")
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", metavar="FILE", help="The authority's certificate.")] = None,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Check audit logs from their first to their last line, offline.

    Names the first entry that was edited, removed, inserted, moved or not signed as it should be. A log on this machine
    is also checked against what its participant remembers of its last checkpoint: a cut or a removal shows.
    """
    del as_json
    if file or certificate or root:
        reports = {str(file): _of_file(name, file, certificate, root)}
    else:
        logs = expected_logs(folder)
        if not logs:
            raise UsageError("there is no audit log on this machine yet", hint="`cloister up` begins them")
        reports = {str(log.path): log.verified() for log in ([named(logs, name)] if name else logs)}
    out = output()
    for path, report in reports.items():
        out.say(_sentence(path, report))
    out.result([{"file": path} | _value(report) for path, report in reports.items()])
    broken = [path for path, report in reports.items() if report.broken]
    if broken:
        raise AuditError(f"the audit log `{broken[0]}` is not what was written")


def _of_file(name: str, file: Path | None, certificate: Path | None, root: Path | None) -> Report:
    if file is None or certificate is None:
        raise UsageError("a log elsewhere is checked with --file and --certificate together")
    return verify(lines(file), read_certificate(certificate), _roots(root) if root else (), name)


def _roots(path: Path) -> tuple[x509.Certificate, ...]:
    return pem.parse_certificates(pem.read(path)[0], str(path), most=_MOST_ROOTS)


def _sentence(path: str, report: Report) -> str:
    if report.broken:
        broken = report.broken
        place = f"{path}:{broken.line}" if broken.line else path
        return f"{report.participant}: BROKEN at {place}: {broken.fault}: {broken.message}"
    count = f"{report.participant}: {report.entries} entries in order, {report.checkpoints} checkpoints"
    if not report.uncovered:
        return f"{count}, all vouched for"
    return f"{count}; {report.uncovered} entries after the last checkpoint are not yet vouched for"


def _value(report: Report) -> dict[str, Any]:
    broken = report.broken
    return {
        "participant": report.participant,
        "entries": report.entries,
        "covered": report.covered,
        "uncovered": report.uncovered,
        "checkpoints": report.checkpoints,
        "head": report.head,
        "broken": {"line": broken.line, "fault": broken.fault.value, "message": broken.message} if broken else None,
    }
