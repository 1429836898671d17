# SPDX-License-Identifier: Apache-2.0
"""Everything that can go wrong, as one tree.

CloisterError                    exit 1
├── UsageError                   exit 2   the command line asks for something that is not there
├── DeniedError                  exit 3   a site's policy, or a gate, said no
│   ├── EgressError                       an update or a metric may not leave its site
│   ├── SignatureError                    something is not signed, or not by whom it should be
│   └── CertificateError                  a certificate makes nobody of its holder under the roster in force
├── InvalidDocumentsError        exit 4   one or more documents do not hold what they should
├── ProvisioningError            exit 1   keys, certificates, kits
│   └── RefusedRequestError               a request for a certificate that the authority never signs
├── RecordsError                 exit 1   a dataset cannot be read as its silo document says
├── SandboxError                 exit 1   the isolated trainer cannot be started
├── TrainerError                 exit 1   the trainer died, or answered with something it may not say
├── FederationError              exit 1   server and sites as processes
├── AuditError                   exit 1   the audit log cannot be written, or is not what was written
├── JobError                     exit 1   a job that ended other than completed
└── ProblemsFoundError           exit 5   an examination came to its end, and found problems

Messages are lower case, carry no full stop, quote what the user wrote in backticks, name the place and, as ``hint``,
how to mend it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitStatus(IntEnum):
    """What the process's exit status means; docs/exit-status.md says the same."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DENIED = 3
    INVALID_DOCUMENTS = 4
    PROBLEMS_FOUND = 5


class CloisterError(Exception):
    """A failure that people are told of in one sentence.

    Attributes:
        message: what went wrong and where.
        hint: how to mend it; empty where nothing can be said.
        exit_status: what the process ends with when nothing catches it.
    """

    exit_status: ExitStatus = ExitStatus.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(CloisterError):
    """The command line names something that does not exist."""

    exit_status = ExitStatus.USAGE


class DeniedError(CloisterError):
    """A policy or a gate refused."""

    exit_status = ExitStatus.DENIED


class EgressError(DeniedError):
    """Something that was about to leave a site may not."""


class SignatureError(DeniedError):
    """A statement is not signed, was changed after it was signed, or was signed by somebody who may not."""


class CertificateError(DeniedError):
    """A certificate does not make its holder somebody whom the roster in force names."""


class ProvisioningError(CloisterError):
    """Keys, certificates or a kit are missing, wrong or unsafe."""


class RefusedRequestError(ProvisioningError):
    """A request for a certificate is one that the authority never signs, whatever is mended where it runs."""


class RecordsError(CloisterError):
    """A dataset cannot be read as its silo document declares it."""


class SandboxError(CloisterError):
    """The isolated process cannot be started, or broke its limits."""


class TrainerError(CloisterError):
    """The trainer died, timed out or sent a message it may not send."""


class FederationError(CloisterError):
    """The federation's processes cannot be started, reached or stopped."""


class AuditError(CloisterError):
    """The audit log cannot be written, or is not what was written; what would have been recorded is not done."""


class JobError(CloisterError):
    """A job cannot be submitted, or ended other than completed."""


class ProblemsFoundError(CloisterError):
    """An examination came to its end and found problems; nothing failed on the way."""

    exit_status = ExitStatus.PROBLEMS_FOUND


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in one document.

    Attributes:
        file: path as people know it, relative to the federation's folder.
        line: 1-based line, 0 where the whole file is meant.
        message: what is wrong.
        hint: how to mend it.
    """

    file: str
    line: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class InvalidDocumentsError(CloisterError):
    """One or more documents are invalid; carries every problem of every file."""

    exit_status = ExitStatus.INVALID_DOCUMENTS

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{count} in the documents\n" + "\n".join(f"  {problem}" for problem in self.problems))
