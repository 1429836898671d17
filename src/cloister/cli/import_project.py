# SPDX-License-Identifier: Apache-2.0
"""`cloister import`: our documents from a plain NVFlare project file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cloister.certificates import identities, profile
from cloister.cli.options import JsonOption, output
from cloister.errors import InvalidDocumentsError, UsageError
from cloister.files import write_once
from cloister.nvflare_project import REPORT, Choices, Imported, Outcome, convert, read_project, report, to_do
from cloister.repository import coverage_problems, load_repository
from cloister.roster import Role

_DOCUMENT = 0o644  # for everybody to review


def import_project(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="NVFlare's project.yml.")],
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where to write; no file there is replaced.")],
    rename: Annotated[
        list[str] | None, typer.Option("--rename", metavar="OLD=NEW", help="What a participant is to be called.")
    ] = None,
    role: Annotated[
        list[str] | None, typer.Option("--role", metavar="PERSON=ROLE", help="What an admin is to be.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write documents from a plain NVFlare project.

    Every participant is kept; every line that is changed or dropped is named, with the reason.
    """
    del as_json
    if not project.is_file():
        raise UsageError(f"there is no file `{project}`", hint="name the project.yml that NVFlare was provisioned from")
    choices = Choices(_pairs("--rename", rename), _roles(_pairs("--role", role)))
    document = read_project(project)
    names = {each.name for each in document.value.participants}
    if unknown := [name for name in (*choices.names, *choices.roles) if name not in names]:
        raise UsageError(f"`{unknown[0]}` is no participant of `{project}`", hint="write the name as it stands there")
    today = datetime.now(UTC).date()
    imported = convert(document, choices, today)
    files = {**imported.documents, REPORT: report(imported, today)}
    _check(imported.documents)
    _write(files, to)
    _say(imported, to, len(files))
    output().result(
        {
            "file": imported.file,
            "folder": str(to),
            "written": sorted(files),
            "participants": [asdict(each) for each in imported.kept],
            "changes": [asdict(each) for each in imported.changes],
            "to_do": to_do(imported),
        }
    )


def _pairs(option: str, given: list[str] | None) -> Mapping[str, str]:
    pairs = {}
    for each in given or ():
        old, equals, new = each.partition("=")
        if not equals or not old or not new or old in pairs:
            raise UsageError(f"`{option} {each}` is not understood", hint="write NAME=WORD, once for each name")
        pairs[old] = new
    return pairs


def _roles(given: Mapping[str, str]) -> Mapping[str, Role]:
    for name, word in given.items():
        if word not in list(Role):
            raise UsageError(f"`{word}` is no role for `{name}`", hint=f"roles are {', '.join(Role)}")
    return {name: Role(word) for name, word in given.items()}


def _check(documents: Mapping[str, str]) -> None:
    """See that what is about to be written passes `cloister check`, and can be certified."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in documents.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        repo = load_repository(Path(folder))
        if problems := coverage_problems(repo):
            raise InvalidDocumentsError(problems)
    for identity in identities(repo.federation.value):
        profile.leaf_extensions(identity)


def _write(files: Mapping[str, str], folder: Path) -> None:
    """Write all of ``files`` or, where one would replace another text, none."""
    there = [name for name in files if (folder / name).is_symlink() or (folder / name).exists()]
    # The same text is what an interrupted import left.
    if others := [name for name in there if not _holds(folder / name, files[name])]:
        hint = "import into an empty folder, and take over from there what you need"
        raise UsageError(f"`{folder / others[0]}` is there already, and is not replaced", hint=hint)
    for name, text in files.items():
        if name not in there:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_once(folder / name, text.encode(), mode=_DOCUMENT)


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and not path.is_symlink() and path.read_bytes() == text.encode()


def _say(imported: Imported, to: Path, count: int) -> None:
    out = output()
    kept = Table("line", "in the project file", "here", "as", box=None, pad_edge=False)
    for each in imported.kept:
        kept.add_row(str(each.line), each.was, each.name, each.role or each.kind)
    out.say(kept)
    lost = Table("place", "key", "", "why", box=None, pad_edge=False)
    for change in imported.changes:
        if change.outcome is not Outcome.KEPT:
            now = f"now {change.became}" if change.outcome is Outcome.CHANGED else "dropped"
            lost.add_row(f"{imported.file}:{change.line}", change.key, now, change.why)
    out.say()
    out.say(lost)
    out.say()
    out.say(f"wrote {count} files to {to}; what became of each line stands in {to / REPORT}")
    out.say("before the first job:")
    for line in to_do(imported):
        out.say(f"  {line}")
