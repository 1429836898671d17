# SPDX-License-Identifier: Apache-2.0
"""Invented slices and volumes, in Hounsfield units: a body with air in it, and sometimes a bright piece in the air.

They look like no scanner's. Sites differ in noise, in how the table moves what is seen, and in how often they find
something.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SCAN_EDGE = 32
FINDINGS = ("clear", "nodule")

Voxels = npt.NDArray[np.int16]

_AIR, _LUNG, _TISSUE, _NODULE = -1000.0, -750.0, 40.0, 90.0


@dataclass(frozen=True)
class PictureSite:
    """What a site's pictures are like.

    Attributes:
        site: its name.
        kind: of store that its scans lie in.
        scans: how many.
        nodules: share of them with a nodule, 0 to 1.
        lesions: how many volumes.
        noise: standard deviation, HU.
        edge: of its volumes, voxels.
    """

    site: str
    kind: str
    scans: int
    nodules: float
    lesions: int
    noise: float
    edge: int


PICTURE_SITES = (
    PictureSite("hospital-north", "dicom", 140, 0.35, 132, 60.0, 16),
    PictureSite("hospital-river", "nifti", 130, 0.65, 130, 90.0, 16),
    PictureSite("hospital-hill", "dicom", 150, 0.50, 136, 75.0, 18),
)


def scans(site: PictureSite, seed: int) -> Iterator[tuple[Voxels, str]]:
    """Slices of shape (32, 32), rows and columns, with what is found in each."""
    draw = _generator(f"scans {site.site}", seed)
    for found in draw.random(site.scans) < site.nodules:
        yield _slice(draw, site.noise, nodule=bool(found)), FINDINGS[int(found)]


def lesions(site: PictureSite, seed: int) -> Iterator[tuple[Voxels, npt.NDArray[np.uint8]]]:
    """Volumes of shape (edge, edge, edge) with their masks, in which 1 is the lesion and 0 all else."""
    draw = _generator(f"lesions {site.site}", seed)
    middle = (site.edge - 1) / 2
    for _ in range(site.lesions):
        centre, radii = middle + draw.uniform(-2.5, 2.5, 3), draw.uniform(2.2, 4.2, 3)
        mask = _inside((site.edge,) * 3, centre, radii)
        volume = np.where(mask, _NODULE, _LUNG) + draw.normal(0.0, site.noise, mask.shape)
        yield _as_voxels(volume), mask.astype(np.uint8)


def _slice(draw: np.random.Generator, noise: float, *, nodule: bool) -> Voxels:
    middle = (SCAN_EDGE - 1) / 2 + draw.uniform(-1.0, 1.0, 2)
    shape = (SCAN_EDGE, SCAN_EDGE)
    picture = np.full(shape, _AIR)
    picture[_inside(shape, middle, draw.uniform(13.5, 15.0, 2))] = _TISSUE
    picture[_inside(shape, middle, draw.uniform(9.5, 11.0, 2))] = _LUNG
    if nodule:
        picture[_inside(shape, middle + draw.uniform(-5.0, 5.0, 2), draw.uniform(2.2, 3.6, 2))] = _NODULE
    return _as_voxels(picture + draw.normal(0.0, noise, shape))


def _inside(
    shape: tuple[int, ...], centre: npt.NDArray[np.float64], radii: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    places = np.indices(shape, dtype=np.float64)
    axes = (-1, *(1 for _ in shape))
    distance: npt.NDArray[np.float64] = (((places - centre.reshape(axes)) / radii.reshape(axes)) ** 2).sum(axis=0)
    return distance <= 1.0


def _as_voxels(values: npt.NDArray[np.float64]) -> Voxels:
    return np.clip(np.rint(values), -1024, 3071).astype(np.int16)


def _generator(name: str, seed: int) -> np.random.Generator:
    # PCG64 gives the same numbers on every machine; a name becomes numbers by its bytes.
    return np.random.Generator(np.random.PCG64([seed, *name.encode()]))
