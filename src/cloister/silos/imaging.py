# SPDX-License-Identifier: Apache-2.0
"""Stores of pictures and volumes: a folder of DICOM files, and a folder of NIfTI files with a table beside it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from cloister.documents import Model
from cloister.documents.patterns import in_words
from cloister.names import ColumnName
from cloister.silos.paths import PathText

_KEYWORD = in_words(r"^[A-Z][A-Za-z0-9]{1,63}$", "the keyword of a DICOM attribute, such as `PatientID`")

Keyword = Annotated[str, StringConstraints(pattern=_KEYWORD)]
"""What DICOM calls an attribute of a header (PS3.6)."""

KeyField = Literal["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "AccessionNumber", "PatientID", "file"]


class NiftiConnector(Model):
    """A folder of NIfTI files, and a CSV file with a row for each record.

    Attributes:
        path: the folder.
        table: the CSV file; like every path it starts at the federation's folder, not at ``path``. A cell of a column
            of kind image is the name of a file, relative to ``path``.
    """

    kind: Literal["nifti"]
    path: PathText
    table: PathText


class Window(Model):
    """Values to look at, as PS3.3 C.11.2.1.2 means it, in what the rescaled values are measured in.

    Attributes:
        centre: the middle.
        width: how far apart black and white are.
    """

    centre: float = Field(ge=-1e9, le=1e9)
    width: float = Field(ge=1, le=1e9)


class TableKey(Model):
    """How a row of the table finds its picture.

    Attributes:
        column: of the table.
        field: what must be the same there: a field of the header, or `file`, the file's name relative to the folder.
    """

    column: ColumnName
    field: KeyField


class DicomConnector(Model):
    """A folder of DICOM files, and the folders in it.

    Attributes:
        path: the folder.
        unit: what a record is: one file, or all files of one series, put together to a volume.
        image: the column that the picture is in.
        fields: columns that are filled from the header, and the keyword of the attribute for each.
        retain: which options of the basic confidentiality profile (PS3.15 E.3) are used: attributes that these keep may
            fill columns that a job can ask for.
        burned_in: what is done about pictures that may have text in them, see
            `cloister.records.images.confidentiality`.
        window: `none` gives rescaled values; anything else gives numbers from 0 to 1.
        table: a CSV file with more columns, such as labels.
        key: how its rows find their pictures.
    """

    kind: Literal["dicom"]
    path: PathText
    unit: Literal["instance", "series"]
    image: ColumnName
    fields: dict[ColumnName, Keyword] = Field(default_factory=dict)
    retain: tuple[Literal["patient-characteristics", "full-dates"], ...] = ()
    burned_in: Literal["refuse", "accept"] = "refuse"
    window: Literal["none", "from-file"] | Window = "none"
    table: PathText | None = None
    key: TableKey | None = None

    @model_validator(mode="after")
    def _table_has_a_key(self) -> Self:
        if (self.table is None) is not (self.key is None):
            raise ValueError("needs both `table` and `key`, or neither")
        return self

    @model_validator(mode="after")
    def _series_are_found_by_what_their_files_share(self) -> Self:
        if self.unit == "series" and self.key is not None and self.key.field in ("SOPInstanceUID", "file"):
            raise ValueError(f"may not have `{self.key.field}` as its `key`, because a series has one for each file")
        return self

    @model_validator(mode="after")
    def _columns_are_filled_once(self) -> Self:
        if self.image in self.fields:
            raise ValueError(f"fills `{self.image}` twice, as its `image` and from its `fields`")
        return self
