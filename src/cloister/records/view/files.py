# SPDX-License-Identifier: Apache-2.0
"""The files of a governed view: two Parquet files, written batch by batch, and the images that their rows name."""

from __future__ import annotations

import hashlib
import io
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from cloister.errors import RecordsError
from cloister.files import PRIVATE_FILE, canonical_json, private_folder, sha256_of, sha256_of_file
from cloister.records.images.volume import Volume
from cloister.records.interface import Store
from cloister.records.view.manifest import TRAINING, VALIDATION
from cloister.records.view.sieve import Sides

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FILES = {TRAINING: "train.parquet", VALIDATION: "validation.parquet"}
IMAGES = "images"

_AHEAD = 2  # batches that wait to be written; each is memory
_SAME_PLACE = 1e-3  # mm; affines are often written in float32


class DigestedFile(io.BufferedWriter):
    """A file that is written from its beginning to its end, and digested on the way.

    Args:
        path: to be made; for the owner alone.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "wb"))
        self._sha256 = hashlib.sha256()

    def write(self, content: ReadableBuffer, /) -> int:
        """Append ``content``."""
        self._sha256.update(content)
        return super().write(content)

    def seekable(self) -> bool:
        """Never: what was digested stays as it is."""
        return False

    def seek(self, _offset: int, _whence: int = 0, /) -> int:
        """Refused, see `seekable`."""
        raise io.UnsupportedOperation("seek")

    def digest(self) -> str:
        """SHA-256 of all that was written, in hexadecimal digits."""
        return self._sha256.hexdigest()


class ViewWriters(ExitStack):
    """The view's two Parquet files.

    They are not made durable: a view is written anew for each job, and removed with it. A thread of its own writes
    and digests, while the next batch is read and looked at.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        super().__init__()
        self._files = {file: self.enter_context(DigestedFile(folder / file)) for file in FILES.values()}
        self._writers = {side: self._open(self._files[file], schema) for side, file in FILES.items()}
        self._thread = ThreadPoolExecutor(1)
        self._writing: deque[Future[None]] = deque()
        self.push(self._finish)

    def _open(self, stream: DigestedFile, schema: pa.Schema) -> parquet.ParquetWriter:
        # Read once, on this machine, and removed: it is not worth the time to make it small.
        options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
        return self.enter_context(parquet.ParquetWriter(stream, schema, **options))

    def write(self, sides: Sides) -> None:
        """Append each side's records to its file; what went wrong with earlier ones may be raised here."""
        if len(self._writing) >= _AHEAD:
            self._writing.popleft().result()
        self._writing.append(self._thread.submit(self._write, sides))

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each file by its name; whole once this is closed."""
        return {file: stream.digest() for file, stream in self._files.items()}

    def _finish(self, failed: type[BaseException] | None, *_: object) -> None:
        """See all of it written before the files are closed; nothing more where something failed."""
        try:
            while self._writing and failed is None:
                self._writing.popleft().result()
        finally:
            self._thread.shutdown(cancel_futures=True)

    def _write(self, sides: Sides) -> None:
        for side, batch in sides.items():
            if batch.num_rows:
                self._writers[side].write_batch(batch)


class ViewImages:
    """The view's images, as fresh NIfTI-1 files of values and affine alone.

    Args:
        folder: of the view.
        store: gives the images.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        self._store = store
        self._digests: dict[str, str] = {}
        self.refusals: list[str] = []

    def take(self, row: dict[str, str]) -> dict[str, str] | None:
        """Write the images of one row; see `cloister.records.view.sieve.TakeImages`."""
        try:
            volumes = {column: self._store.read_image(name) for column, name in row.items()}
        except RecordsError as error:
            self.refusals.append(error.message)
            return None
        first = next(iter(volumes.values()))
        for volume in volumes.values():
            if volume.values.shape[:3] != first.values.shape[:3] or not _same_place(volume, first):
                self.refusals.append("an image and its mask do not cover the same place")
                return None
        return {column: self._write(volume) for column, volume in volumes.items()}

    def _write(self, volume: Volume) -> str:
        import nibabel  # noqa: PLC0415 - 40 MB, which views without images can do without

        private_folder(self._folder / IMAGES)
        name = f"{IMAGES}/{len(self._digests) + 1:06}.nii"
        values = volume.values
        if values.dtype.kind == "f":
            values = values.astype(np.float32)
        elif values.dtype.itemsize > 4:
            values = values.astype(np.int32)
        path = self._folder / name
        nibabel.Nifti1Image(values, volume.affine).to_filename(path)
        path.chmod(PRIVATE_FILE)
        self._digests[name] = sha256_of_file(path)
        return name

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 over the names and digests of all images; empty where there are none."""
        return {IMAGES: sha256_of(canonical_json(self._digests))} if self._digests else {}


def _same_place(one: Volume, other: Volume) -> bool:
    return bool(np.allclose(one.affine, other.affine, atol=_SAME_PLACE))
