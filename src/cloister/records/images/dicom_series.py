# SPDX-License-Identifier: Apache-2.0
"""Which files of a folder are DICOM images, and which of them make up a series, with what their headers say.

Headers are read one by one and dropped. Of each file of a series its name is kept, some 200 bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydicom.dataset import FileDataset

from cloister.errors import RecordsError
from cloister.records.images.confidentiality import findings, may_have_text
from cloister.records.images.dicom_fields import cell_of
from cloister.records.images.dicom_file import class_of, guarded, read_header
from cloister.records.images.image_folder import ImageFolder

FILE = "file"
"""Stands for the file's name where a field of the header may stand."""


@dataclass
class Record:
    """One picture, or one series.

    Attributes:
        names: of its files, relative to the folder.
        cells: of the fields that were asked for; None where nothing is stated, or the files state different things.
    """

    names: list[str]
    cells: list[str | None]


@dataclass
class Survey:
    """What was found on the way through a folder; never a value.

    Attributes:
        files: images.
        others: files that are no DICOM images.
        other: the name of one of those.
        with_text: images that may have text burned in.
        findings: files in which an attribute stands that the basic profile would not keep, by keyword.
    """

    files: int = 0
    others: int = 0
    other: str = ""
    with_text: int = 0
    findings: Counter[str] = field(default_factory=Counter)


def instances(folder: ImageFolder, fields: Sequence[str], survey: Survey) -> Iterator[Record]:
    """Every DICOM image in ``folder``, in the order of `ImageFolder.names`.

    Args:
        folder: to walk through.
        fields: keywords, or `FILE`.
        survey: counts.

    Raises:
        RecordsError: where a file is DICOM and its header cannot be read.
    """
    for name, header in _images(folder, survey):
        yield Record([name], _cells(header, name, fields))


def series(folder: ImageFolder, fields: Sequence[str], survey: Survey) -> list[Record]:
    """Every series of DICOM images in ``folder``, in the order of its first file.

    Raises:
        RecordsError: where a header cannot be read or names no series, or a series is of two people.
    """
    found: dict[str, Record] = {}
    people: dict[str, str | None] = {}
    for name, header in _images(folder, survey):
        number, person = cell_of(header, "SeriesInstanceUID"), cell_of(header, "PatientID")
        shown = folder.shown_file(name)
        if number is None:
            raise RecordsError(f"`{shown}` does not name its series", hint="set `unit` to instance, or leave it out")
        cells = _cells(header, name, fields)
        record = found.get(number)
        if record is None:
            found[number], people[number] = Record([name], cells), person
            continue
        if people[number] != person:
            raise RecordsError(f"`{shown}` is of another patient than its series", hint="export the series again")
        record.names.append(name)
        record.cells = [one if one == other else None for one, other in zip(record.cells, cells, strict=True)]
    return list(found.values())


def is_image(header: FileDataset) -> bool:
    """Whether a file says to hold a picture; what it holds is seen when it is decoded."""
    kind = class_of(header)
    return "Rows" in header or (kind is not None and ("Image Storage" in kind.name or "Segmentation" in kind.name))


def _images(folder: ImageFolder, survey: Survey) -> Iterator[tuple[str, FileDataset]]:
    for name in folder.names():
        shown = folder.shown_file(name)
        header = read_header(folder.path / name, shown)
        with guarded(shown):
            if header is None or not is_image(header):
                survey.others += 1
                survey.other = survey.other or name
                continue
            survey.files += 1
            survey.with_text += may_have_text(header)
            survey.findings.update(set(findings(header)))
        yield name, header


def _cells(header: FileDataset, name: str, fields: Sequence[str]) -> list[str | None]:
    return [name if keyword == FILE else cell_of(header, keyword) for keyword in fields]
