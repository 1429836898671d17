# SPDX-License-Identifier: Apache-2.0
"""Writes invented pictures as hospitals keep them: DICOM files with a table of findings, NIfTI files with a table.

The headers of the DICOM files hold an invented name, number and date of birth: what a view must not hold.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence

import nibabel as nib
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from cloister.reference.pictures import PictureSite, Voxels, lesions, scans

_PEOPLE_SHARE = 5  # of six pictures, so that some people have two
_MILLIMETRES = 2.0


def picture_files(site: PictureSite, seed: int) -> dict[str, bytes]:
    """What is written of one site's scans and lesions."""
    return {**(_dicom if site.kind == "dicom" else _nifti)(site, seed), **_volumes(site, seed)}


def person_of(number: int) -> str:
    """Whom picture ``number`` is of; some have two."""
    return f"SYN-P-{number * _PEOPLE_SHARE // 6:05}"


def _dicom(site: PictureSite, seed: int) -> dict[str, bytes]:
    files, rows = {}, []
    for number, (voxels, finding) in enumerate(scans(site, seed), start=1):
        accession = f"SYN-A{number:05}"
        files[f"scans/{number:04}.dcm"] = _dicom_file(voxels, accession, person_of(number), f"{seed} {site.site}")
        rows.append((accession, finding))
    files["findings.csv"] = _csv(("accession", "finding"), rows)
    return files


def _dicom_file(voxels: Voxels, accession: str, person: str, origin: str) -> bytes:
    """A slice of computed tomography (PS3.3 A.3), explicit little endian, values kept 1024 above HU."""

    def uid(*parts: str) -> str:
        return str(generate_uid(entropy_srcs=[origin, *parts]))

    found = Dataset()
    found.SOPClassUID, found.SOPInstanceUID = CTImageStorage, uid(accession, "instance")
    found.StudyInstanceUID, found.SeriesInstanceUID = uid(accession, "study"), uid(accession, "series")
    found.Modality, found.AccessionNumber = "CT", accession
    found.PatientName, found.PatientID, found.PatientBirthDate = f"Invented^{person}", person, "19500101"
    found.InstitutionName, found.StudyDate = "Invented Hospital", "20240101"
    found.Rows, found.Columns = voxels.shape
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.BitsAllocated = found.BitsStored = 16
    found.HighBit, found.PixelRepresentation = 15, 0
    found.RescaleSlope, found.RescaleIntercept, found.RescaleType = 1, -1024, "HU"
    found.PixelSpacing = [_MILLIMETRES, _MILLIMETRES]
    found.ImageOrientationPatient, found.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 0]
    found.SliceThickness = 1
    found.PixelData = (voxels.astype("<i4") + 1024).astype("<u2").tobytes()
    found["PixelData"].VR = "OW"
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = CTImageStorage
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    stream = io.BytesIO()
    dcmwrite(stream, found, enforce_file_format=True)
    return stream.getvalue()


def _nifti(site: PictureSite, seed: int) -> dict[str, bytes]:
    files, rows = {}, []
    for number, (voxels, finding) in enumerate(scans(site, seed), start=1):
        name = f"{number:04}.nii.gz"
        # NIfTI's first axis runs to the right and its second to the front; rows of a slice run to the back.
        files[f"scans/{name}"] = _nifti_file(voxels.T[:, ::-1, np.newaxis])
        rows.append((person_of(number), name, finding))
    files["scans.csv"] = _csv(("patient_id", "scan", "finding"), rows)
    return files


def _volumes(site: PictureSite, seed: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    rows = []
    for number, (voxels, mask) in enumerate(lesions(site, seed), start=1):
        image, mask_file = f"images/{number:04}.nii.gz", f"masks/{number:04}.nii.gz"
        files[f"lesions/{image}"], files[f"lesions/{mask_file}"] = _nifti_file(voxels), _nifti_file(mask)
        rows.append((person_of(number), image, mask_file))
    files["lesions.csv"] = _csv(("patient_id", "volume", "mask"), rows)
    return files


def _nifti_file(voxels: npt.NDArray[np.int16] | npt.NDArray[np.uint8]) -> bytes:
    image = nib.Nifti1Image(np.ascontiguousarray(voxels), np.diag([_MILLIMETRES, _MILLIMETRES, _MILLIMETRES, 1.0]))
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), mtime=0)  # no time in it: the same records are the same bytes


def _csv(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows([columns, *rows])
    return stream.getvalue().encode()
