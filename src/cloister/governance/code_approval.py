# SPDX-License-Identifier: Apache-2.0
"""Writes the approval of a job's training code into a policy's text, and changes nothing else in it.

1. The text is edited line by line, so that comments, order and spelling stay as their owner wrote them; but a comment
   behind `code: forbidden` goes with it, because it says what is no longer so.
2. `version` is raised by one, because signatures and the audit log tell policies apart by it.
3. What came out is read again. It must differ from what was there in the new version and the one new approval, and in
   nothing else; otherwise nothing is written, and the message says what to add by hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from cloister.documents import Document, parse
from cloister.errors import CloisterError, InvalidDocumentsError
from cloister.policies import Policy

_VERSION = re.compile(r"(version:[ \t]+)(\d+)([ \t]*(?:#.*)?\r?)")
_FORBIDDEN = re.compile(r"code:[ \t]+(?:forbidden|'forbidden'|\"forbidden\")(?:[ \t]+#.*)?\r?")
_ENTRY = re.compile(r"([ ]*)-[ ].*")


@dataclass(frozen=True)
class CodeApproved:
    """One approval.

    Attributes:
        sha256: digest of the code.
        by: who approves it, by name.
        until: last day on which it may run.
    """

    sha256: str
    by: str
    until: date

    def lines(self, indent: str) -> list[str]:
        """The entry as it stands in a policy."""
        said = [f"- sha256: {self.sha256}", f"  by: {self.by}", f"  until: {self.until.isoformat()}"]
        return [indent + line for line in said]


def with_approval(policy: Document[Policy], approval: CodeApproved) -> bytes:
    """The text of ``policy`` with ``approval`` in it, and a version one higher.

    Raises:
        CloisterError: where the text cannot be edited so that nothing else changes; the hint says what to write.
    """
    lines = policy.text.decode().split("\n")
    edited = _add(policy, approval, lines)
    number = policy.source.line(("version",)) - 1
    if edited is not None and (found := _VERSION.fullmatch(edited[number])):
        edited[number] = f"{found[1]}{policy.value.version + 1}{found[3]}"
        text = "\n".join(edited).encode()
        if _says(text, policy.source.file) == _wanted(policy.value, approval):
            return text
    entry = "\n".join(["code:", "  approved:", *approval.lines("    ")])
    message = f"`{policy.source.file}` is written in a way that cannot be edited without changing anything else"
    raise CloisterError(
        message, hint=f"raise its `version` to {policy.value.version + 1} and write into it:\n{entry}\n"
    )


def _add(policy: Document[Policy], approval: CodeApproved, lines: list[str]) -> list[str] | None:
    """``lines`` with the approval, still of the old version; None where its place cannot be found."""
    end = "\r" if lines[0].endswith("\r") else ""
    granted = policy.value.code
    if granted is None:
        block = ["code:", "  approved:", *approval.lines("    ")]
        kept = lines[:-1] if not lines[-1].strip() else [*lines[:-1], lines[-1] + end]
        return [*kept, end, *(line + end for line in block), ""]
    at = policy.source.line(("code",)) - 1
    if granted == "forbidden":
        if not _FORBIDDEN.fullmatch(lines[at]):
            return None
        block = ["code:", "  approved:", *approval.lines("    ")]
        return [*lines[:at], *(line + end for line in block), *lines[at + 1 :]]
    last = ("code", "approved", len(granted.approved) - 1)
    first = _ENTRY.fullmatch(lines[policy.source.line(last) - 1].rstrip("\r"))
    if first is None:
        return None
    behind = max(line for path, line in policy.source.lines.items() if path[:3] == last)
    return [*lines[:behind], *(line + end for line in approval.lines(first[1])), *lines[behind:]]


def _says(text: bytes, name: str) -> dict[str, Any] | None:
    try:
        return parse(text, Policy, name=name).value.model_dump(mode="json")
    except InvalidDocumentsError:
        return None


def _wanted(policy: Policy, approval: CodeApproved) -> dict[str, Any]:
    said = policy.model_dump(mode="json")
    before = said["code"]["approved"] if isinstance(said["code"], dict) else []
    entry = {"sha256": approval.sha256, "by": approval.by, "until": approval.until.isoformat()}
    return {**said, "version": policy.version + 1, "code": {"approved": [*before, entry]}}
