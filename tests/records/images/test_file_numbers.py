# SPDX-License-Identifier: Apache-2.0
"""Refusals of pictures say which file, and not its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloister.errors import RecordsError
from cloister.records.images.file_numbers import FileNumbers, without_names
from cloister.records.images.image_folder import ImageFolder
from tests.records.dicom_writers import picture, rows, store, write_dicom

NAME = "DOE^JANE/1970-01-01.dcm"


def test_a_number_stands_for_a_name(tmp_path: Path) -> None:
    for name in ("a", "b", "c/d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = ImageFolder(tmp_path, "x.y")
    error = RecordsError(
        "`x.y/c/d` and `x.y/a` differ, `x.y/e` does not, `x.y` may, `xzy/a` too, `x.y/t`", hint="mend it"
    )
    told = without_names(error, folder, FileNumbers(folder).label, "x.y/t")
    assert told.message == (
        "file 3 of `x.y` and file 1 of `x.y` differ, a file of `x.y` does not, `x.y` may, `xzy/a` too, `x.y/t`"
    )
    assert told.hint == "mend it"
    assert told.__notes__ == [
        "file 3 of `x.y` is `x.y/c/d`",
        "file 1 of `x.y` is `x.y/a`",
        "a file of `x.y` is `x.y/e`",
    ]


@pytest.mark.parametrize("unit", ["instance", "series"])
def test_no_refusal_of_a_store_names_a_patient(unit: str, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "scans" / NAME, picture(Rows=7))
    write_dicom(tmp_path / "scans" / "0.dcm", picture(SeriesInstanceUID="1.2"))
    found = store(tmp_path, unit=unit)
    assert [row["scan"] for row in rows(found)] == ["0.dcm", NAME]
    with pytest.raises(RecordsError) as caught:
        found.read_image(NAME)
    assert "DOE" not in str(caught.value)
    assert caught.value.message.startswith("file 2 of `scans` is cut off")
    assert caught.value.__notes__ == [f"file 2 of `scans` is `scans/{NAME}`"]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RecordsError) as caught:
        rows(found)
    assert "DOE" not in str(caught.value)
    path.unlink()
    with pytest.raises(RecordsError) as caught:
        found.read_image(NAME)
    assert "DOE" not in str(caught.value)
    assert caught.value.message.startswith("file 2 of `scans` does not exist")  # it was there when files were numbered
