# SPDX-License-Identifier: Apache-2.0
"""The views of simulated sites: that of each real site is written once, and its copies have parts of it.

Policies are asked about the whole view, as they would be at the site itself.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from cloister.errors import CloisterError, UsageError
from cloister.files import PRIVATE_FILE, private_folder
from cloister.flare.state import State
from cloister.jobs import Job
from cloister.records import TRAINING, VALIDATION, ViewManifest, ViewRequest, split_key, write_view
from cloister.silos import ColumnKind, Dataset
from cloister.simulation.cast import SimulatedSite
from cloister.simulation.shares import (
    Indices,
    class_shares,
    even_shares,
    none_empty,
    random_for,
    skewed_shares,
)

_FILES = {TRAINING: "train.parquet", VALIDATION: "validation.parquet"}
_MANIFEST = "manifest.json"
_SPLIT_KEY = "split.key"

_Whole = tuple[ViewManifest, dict[str, list[Indices]]]
"""What a site's view holds, and for each side which of its records each copy has."""


def key_of(root: Path, job: str, origin: str) -> tuple[bytes, bool]:
    """The key that ``origin`` splits its records with, and whether it is the site's own.

    Where the site has no workspace on this machine, or none with a key yet, the key follows from job and name: the
    split is then the same in each simulation, and another than the site will make.

    Raises:
        RecordsError: where the site's key cannot be read, or others can read it.
    """
    workspace = State(root).site(origin)
    if os.path.lexists(workspace / _SPLIT_KEY):
        return split_key(workspace), True
    return hashlib.blake2b(f"simulation/{job}/{origin}".encode(), digest_size=32).digest(), False


@dataclass
class Views:
    """Writes the views of one simulation.

    Attributes:
        root: the federation's folder.
        job: the job.
        folder: for whole views, out of every trainer's sight.
        skew: alpha of the distribution that classes are dealt out by; None for equal parts.
    """

    root: Path
    job: Job
    folder: Path
    skew: float | None = None
    _wholes: dict[str, _Whole | CloisterError] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.skew is not None and self.job.dataset.label is None:
            raise UsageError(f"--skew deals out classes, and a job of task {self.job.task} has none")

    def write(
        self, site: SimulatedSite, dataset: Dataset, request: ViewRequest, folder: Path
    ) -> tuple[ViewManifest, ViewManifest]:
        """Write the view of ``site`` into ``folder``; see `cloister.flare.site_view.ViewMaker`.

        Raises:
            RecordsError: where there is no view to be had.
            UsageError: where there are fewer records than copies.
        """
        if site.copies == 1:
            manifest = self._whole(site.origin, dataset, request, folder)
            (folder / _MANIFEST).unlink()  # where several views lie in one folder, each trainer sees all of that
            return manifest, manifest
        manifest, shares = self._dealt(site, dataset, request)
        images = [name for name in request.view if dataset.columns[name].kind is ColumnKind.IMAGE]
        private_folder(folder)
        for side, file in _FILES.items():
            _write_share(self.folder / site.origin, folder, file, shares[side][site.number], images)
        training, validation = (len(shares[side][site.number]) for side in (TRAINING, VALIDATION))
        held = replace(manifest, rows=training + validation, training=training, validation=validation)
        return manifest, held

    def _dealt(self, site: SimulatedSite, dataset: Dataset, request: ViewRequest) -> _Whole:
        """The view of the site that ``site`` is a copy of; where there is none, each copy is told the same reason."""
        folder = self.folder / site.origin
        with self._guard:
            lock = self._locks.setdefault(site.origin, threading.Lock())
        with lock:
            if site.origin not in self._wholes:
                try:
                    manifest = self._whole(site.origin, dataset, request, folder)
                    self._wholes[site.origin] = manifest, self._shares(site, folder)
                except CloisterError as error:
                    self._wholes[site.origin] = error
            found = self._wholes[site.origin]
        if isinstance(found, CloisterError):
            raise found
        return found

    def _whole(self, origin: str, dataset: Dataset, request: ViewRequest, folder: Path) -> ViewManifest:
        key, _ = key_of(self.root, self.job.job, origin)
        return write_view(dataset, request, key=key, root=self.root, folder=folder, name=self.job.dataset.name)

    def _shares(self, site: SimulatedSite, folder: Path) -> dict[str, list[Indices]]:
        """Which records of each side each copy has; all have one to train on."""
        seed, label = self.job.seed, self.job.dataset.label
        drawn = None
        if self.skew is not None:
            chance = random_for(seed, site.origin, "classes")
            drawn = class_shares(self.job.dataset.labels, site.copies, self.skew, chance)
        shares = {}
        for side, file in _FILES.items():
            random = random_for(seed, site.origin, side)
            if drawn is not None and label is not None:
                labels: list[str] = parquet.read_table(folder / file, columns=[label])[label].to_pylist()
                shares[side] = skewed_shares(labels, drawn, random)
            else:
                shares[side] = even_shares(parquet.read_metadata(folder / file).num_rows, site.copies, random)
        try:
            shares[TRAINING] = none_empty(shares[TRAINING])
        except ValueError as error:
            records = sum(map(len, shares[TRAINING]))
            message = f"`{site.origin}` has {records} records to train on, and {site.copies} copies would share them"
            raise UsageError(message, hint="say fewer --sites") from error
        return shares


def _write_share(whole: Path, folder: Path, file: str, chosen: Indices, images: Sequence[str]) -> None:
    table = parquet.read_table(whole / file).take(pa.array(chosen))
    parquet.write_table(table, folder / file)
    (folder / file).chmod(PRIVATE_FILE)
    for name in {name for column in images for name in table[column].to_pylist() if name is not None}:
        private_folder((folder / name).parent)
        if not (folder / name).exists():
            os.link(whole / name, folder / name)
