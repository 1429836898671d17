# SPDX-License-Identifier: Apache-2.0
"""DICOM files made for tests, with pydicom, and the declaration of a folder of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from cloister import silos
from cloister.records import open_store
from cloister.records.images.dicom import DicomStore

PERSON = "PAT-0001"
SERIES = generate_uid(entropy_srcs=["series"])
IMPLICIT, BIG_ENDIAN = UID("1.2.840.10008.1.2"), UID("1.2.840.10008.1.2.2")


def picture(values: np.ndarray | None = None, **attributes: Any) -> Dataset:
    """A CT slice of 6 rows and 4 columns, or of ``values``; ``None`` takes an attribute away."""
    values = np.arange(24, dtype=np.int16).reshape(6, 4) if values is None else values
    colours = values.ndim > 2 and values.shape[-1] == 3
    frames = values.shape[0] if values.ndim - colours == 3 else None
    size = values.shape[1:3] if frames else values.shape[:2]
    found = Dataset()
    found.update(
        {
            "SOPClassUID": CTImageStorage,
            "SOPInstanceUID": generate_uid(),
            "StudyInstanceUID": generate_uid(entropy_srcs=["study"]),
            "SeriesInstanceUID": SERIES,
            "Modality": "CT",
            "PatientID": PERSON,
            "Rows": size[0],
            "Columns": size[1],
            "SamplesPerPixel": 3 if colours else 1,
            "PhotometricInterpretation": "RGB" if colours else "MONOCHROME2",
            "BitsAllocated": values.dtype.itemsize * 8,
            "BitsStored": values.dtype.itemsize * 8,
            "HighBit": values.dtype.itemsize * 8 - 1,
            "PixelRepresentation": int(values.dtype.kind == "i"),
            "PixelSpacing": [0.5, 0.25],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [10, 20, 30],
        }
    )
    if colours:
        found.PlanarConfiguration = 0
    if frames:
        found.NumberOfFrames = frames
    for keyword, value in attributes.items():
        if value is None:
            found.pop(keyword, None)
        else:
            setattr(found, keyword, value)
    data = values.tobytes()
    found.add_new("PixelData", "OW", data + b"\x00" * (len(data) % 2))
    return found


def write_dicom(path: Path, data: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """``data`` as a file with a meta group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.get("SOPClassUID", CTImageStorage)
    data.file_meta.MediaStorageSOPInstanceUID = data.get("SOPInstanceUID", generate_uid())
    implicit, little = syntax == IMPLICIT, syntax != BIG_ENDIAN
    data.save_as(path, enforce_file_format=True, implicit_vr=implicit, little_endian=little)
    return path


def write_frames(path: Path, data: Dataset, frames: list[bytes], syntax: UID) -> Path:
    """``data`` with pixels that are compressed already."""
    data.PixelData = encapsulate(frames)
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    return write_dicom(path, data, syntax)


def declared(columns: dict[str, Any] | None = None, **connector: Any) -> silos.Dataset:
    """A dataset in the folder `scans`, of single files, with the picture in `scan`."""
    return silos.Dataset.model_validate(
        {
            "connector": {"kind": "dicom", "path": "scans", "unit": "instance", "image": "scan", **connector},
            "columns": {"scan": {"kind": "image"}, **(columns or {})},
        },
        strict=False,
    )


def store(root: Path, columns: dict[str, Any] | None = None, **connector: Any) -> DicomStore:
    """The store of such a dataset."""
    found = open_store(declared(columns, **connector), root=root)
    assert isinstance(found, DicomStore)
    return found


def rows(found: DicomStore, *columns: str) -> list[dict[str, Any]]:
    """All rows of it."""
    return [row for batch in found.batches(columns or ("scan",)) for row in batch.to_pylist()]
