# SPDX-License-Identifier: Apache-2.0
"""Reads a project file as strictly as our own documents, though NVFlare itself takes anything."""

from __future__ import annotations

from pathlib import Path

from cloister.documents import MAXIMUM_BYTES, Document, parse
from cloister.errors import InvalidDocumentsError, Problem
from cloister.files import read_regular
from cloister.nvflare_project import placeholders
from cloister.nvflare_project.model import Project


def read_project(path: Path, name: str | None = None) -> Document[Project]:
    """Read the project file at ``path``.

    Args:
        path: the file.
        name: what messages call it; its own name where not given.

    Raises:
        InvalidDocumentsError: with every mistake, unknown key and placeholder in it, each with its line.
    """
    shown = name or path.name
    try:
        content = read_regular(path, MAXIMUM_BYTES)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InvalidDocumentsError([Problem(shown, 0, f"cannot be read: {reason}")]) from error
    return parse_project(content, shown)


def parse_project(content: bytes, name: str) -> Document[Project]:
    """Read a project file from its bytes; see `read_project`."""
    if found := placeholders.in_text(content.decode("utf-8", "replace"), name):
        raise InvalidDocumentsError(found)
    document = parse(content, Project, name=name)
    if found := placeholders.in_values(document.value.model_dump(exclude_unset=True), document.source):
        raise InvalidDocumentsError(found)
    return document
