# SPDX-License-Identifier: Apache-2.0
"""Pneumonia in chest X-rays over three sites with different shares of it: federated, pooled and alone, by AUC.

Run it: .venv/bin/python benchmarks/pneumonia.py [--seeds 3] [--rounds 40] [--steps 30]

A balanced subset of PneumoniaMNIST (MedMNIST v2, CC BY 4.0): children's X-rays of 28 × 28 pixels. They are first
written as each site would have them, a folder of DICOM files with a table of findings beside it, and read back through
the connector. Of its 2428 training pictures the three sites get as many each, with pneumonia in 20, 50 and 80 %; of its
468 test pictures a third each. A small DenseNet, from weights that are drawn. Runs in this process.
"""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from hippocampus import network_layout
from in_process import Site, job_of, study, table_of
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian
from study_options import say, study_parser

from cloister.silos import Dataset

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "pneumoniamnist_subset" / "pneumoniamnist.npz"
SHARES = {"north": 0.2, "middle": 0.5, "south": 0.8}
LABELS = ("normal", "pneumonia")
_ROOT = "1.2.826.0.1.3680043.10.1"  # any will do: these files are for this run alone


def main() -> None:
    options = study_parser(__doc__, seeds=3, rounds=40, steps=30, batch=32, rate=3e-3).parse_args()
    if not DATA.is_file():
        raise SystemExit(f"needs {DATA}")
    job = job_of(
        {
            "job": "pneumonia",
            "purpose": "research",
            "task": "image-classification",
            "architecture": {"densenet": {"features": 16, "growth": 8, "blocks": [2, 2, 2]}},
            "dataset": {
                "name": "radiographs",
                "image": "picture",
                "label": "finding",
                "labels": LABELS,
                "validation_share": 0.2,
            },
            "imaging": {"size": [28, 28], "intensities": {"low": 0, "high": 255}},
            "method": {"full": {}},
            "training": {"steps": options.steps, "batch_size": options.batch, "learning_rate": options.rate},
            "federation": {"rounds": options.rounds},
            "select_by": {"metric": "auc"},
        }
    )
    with tempfile.TemporaryDirectory(prefix="pneumonia-") as name:
        root = Path(name)
        sites = _sites(root)
        runs = study(
            job, sites, root=root, seeds=range(options.seeds), layout=network_layout, ways=options.ways, say=say
        )
    for metric in ("auc", "accuracy"):
        print(f"\n{table_of(runs, metric)}")


def _sites(root: Path) -> dict[str, Site]:
    content = np.load(DATA)
    random = np.random.default_rng(4)
    ill, well = (random.permutation(np.flatnonzero(content["train_labels"][:, 0] == number)) for number in (1, 0))
    tests = np.array_split(random.permutation(len(content["test_labels"])), len(SHARES))
    each = len(content["train_labels"]) // len(SHARES)
    sites = {}
    for (site, share), test in zip(SHARES.items(), tests, strict=True):
        count = round(each * share)
        own, ill, well = np.concatenate((ill[:count], well[: each - count])), ill[count:], well[each - count :]
        say(f"{site}: {len(own)} pictures to train on, {count} with pneumonia; {len(test)} to test on")
        sites[site] = Site(
            _dataset(root / site, content["train_images"][own], content["train_labels"][own, 0]),
            _dataset(root / f"{site}-test", content["test_images"][test], content["test_labels"][test, 0]),
        )
    return sites


def _dataset(folder: Path, pictures: np.ndarray[Any, Any], classes: np.ndarray[Any, Any]) -> Dataset:
    folder.mkdir()
    table = folder.with_suffix(".csv")
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "finding"])
        for number, (picture, label) in enumerate(zip(pictures, classes, strict=True)):
            _write(folder / f"{number:05}.dcm", picture, f"{number}")
            writer.writerow([f"{number:05}.dcm", LABELS[label]])
    connector = {
        "kind": "dicom",
        "path": str(folder),
        "unit": "instance",
        "image": "picture",
        # Screen captures and the like may have names burnt in; these pictures are known to have none.
        "burned_in": "accept",
        "table": str(table),
        "key": {"column": "file", "field": "file"},
    }
    columns = {"picture": {"kind": "image"}, "finding": {"kind": "category", "values": LABELS}}
    return Dataset.model_validate_json(json.dumps({"connector": connector, "columns": columns}))


def _write(path: Path, picture: np.ndarray[Any, Any], number: str) -> None:
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = UID(f"{_ROOT}.3.{number}")
    data.StudyInstanceUID, data.SeriesInstanceUID = f"{_ROOT}.1.{number}", f"{_ROOT}.2.{number}"
    data.Modality, data.PatientID = "DX", number
    data.Rows, data.Columns = picture.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = picture.tobytes()
    data["PixelData"].VR = "OB"
    data.save_as(path, enforce_file_format=True)


if __name__ == "__main__":
    main()
