# SPDX-License-Identifier: Apache-2.0
"""The governed view: the part of a dataset that one job's trainer may see, written to a private folder.

1. The view holds two columns, the text and its class. Nothing else is read from the store, but for the columns that
   the policy filters rows by: those are read, and not copied.
2. A column that the dataset does not declare does not exist. A column of kind identifier cannot be asked for.
3. The text must be of kind text, the class of kind category with the very labels of the job.
4. A row that the policy's filter does not let through is left out before anything else is looked at, and counted. A
   cell that is null passes no filter. Several filters of one column must all let the row through.
5. A row is rejected, and counted, where its text is null, empty or white space, or its class is null or unknown. Above
   the dataset's share of rejected rows, among those that the filter lets through, there is no view at all.
6. A text longer than the column allows is cut, and counted.
7. A record is kept for validation by the site's secret, the seed and its text, see `cloister.records.split`. So the
   same text always falls on the same side, however often it occurs and wherever the rows lie, and nobody outside the
   site can tell on which. (Records of one person may fall on both sides.)
8. The folder appears whole or not at all. It holds `train.parquet`, `validation.parquet` and `manifest.json`.

Memory does not grow with the number of rows.
"""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from cloister.errors import RecordsError
from cloister.files import PRIVATE_FILE, PRIVATE_FOLDER, sha256_of_file, sync_folder, write_json
from cloister.records.split import held_back
from cloister.records.stores import open_store
from cloister.records.view_manifest import TRAINING, VALIDATION, ViewManifest
from cloister.silos import Column, ColumnKind, Dataset

FILES = {TRAINING: "train.parquet", VALIDATION: "validation.parquet"}
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ViewRequest:
    """What a job asks of a dataset.

    Attributes:
        text: column with the text.
        label: column with the class.
        labels: the classes, in the order of their numbers.
        validation_share: share of records kept from training, 0 to 1.
        seed: of the split.
        rows: columns of kind category, each with the values that a row must have there to enter the view.
    """

    text: str
    label: str
    labels: tuple[str, ...]
    validation_share: float
    seed: int
    rows: tuple[tuple[str, frozenset[str]], ...] = ()

    @property
    def read(self) -> tuple[str, ...]:
        """Columns that are read from the store: those of the view first, each once."""
        return tuple(dict.fromkeys((self.text, self.label, *(column for column, _ in self.rows))))


def write_view(
    dataset: Dataset, request: ViewRequest, *, key: bytes, root: Path, folder: Path, name: str
) -> ViewManifest:
    """Write the view of ``dataset`` that ``request`` asks for into ``folder``.

    Args:
        dataset: as the silo document declares it.
        request: what the job asks for.
        key: the site's secret that the split is made with; see `cloister.records.split.split_key`.
        root: the federation's folder, where relative paths start.
        folder: to be made, readable by the owner alone; may not exist yet.
        name: the dataset's name, for messages.

    Raises:
        RecordsError: where there is no view to be had; nothing half-written is left.
    """
    column = check_request(dataset, request, name=name)
    store = open_store(dataset, root=root)
    if folder.exists() or folder.is_symlink():
        raise RecordsError(f"the view's folder `{folder}` exists already", hint="remove it first")
    temporary = None
    try:
        folder.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))  # mkdtemp makes it 0700
        tally = _Tally(request.labels)
        with _Writers(temporary, request) as writers:
            for batch in store.batches(request.read):
                writers.write(_split(batch, column, request, key, tally))
        _check_tally(tally, dataset.maximum_rejected_share, name)
        manifest = tally.manifest(temporary, request)
        write_json(temporary / MANIFEST, manifest.to_json())
        temporary.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise RecordsError(f"the view of dataset `{name}` cannot be written: {reason}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def check_request(dataset: Dataset, request: ViewRequest, *, name: str) -> Column:
    """Check what is asked against what the dataset declares; no record is read.

    Returns:
        The text's column.

    Raises:
        RecordsError: where the dataset has no such columns, or other labels.
    """
    text = _declared(dataset, request.text, ColumnKind.TEXT, name)
    label = _declared(dataset, request.label, ColumnKind.CATEGORY, name)
    for filtered_by, _ in request.rows:
        _declared(dataset, filtered_by, ColumnKind.CATEGORY, name)
    here, asked = set(label.values), set(request.labels)
    if here != asked:
        differences = [f"only here: {_listed(here - asked)}"] if here - asked else []
        differences += [f"only in the job: {_listed(asked - here)}"] if asked - here else []
        raise RecordsError(
            f"column `{request.label}` of dataset `{name}` has other labels than the job ({'; '.join(differences)})",
            hint="job and silo documents must name the same labels",
        )
    return text


def _declared(dataset: Dataset, asked: str, kind: ColumnKind, name: str) -> Column:
    column = dataset.columns.get(asked)
    if column is None:
        open_to_jobs = [known for known, it in dataset.columns.items() if it.kind is not ColumnKind.IDENTIFIER]
        near = difflib.get_close_matches(asked, open_to_jobs, n=1, cutoff=0.5)
        raise RecordsError(
            f"dataset `{name}` declares no column `{asked}`",
            hint=f"nearest is `{near[0]}`" if near else f"it has {_listed(open_to_jobs)}",
        )
    if column.kind is ColumnKind.IDENTIFIER:
        raise RecordsError(f"column `{asked}` of dataset `{name}` is an identifier, which no job can ask for")
    if column.kind is not kind:
        what = f"column `{asked}` of dataset `{name}` is of kind {column.kind.value}, where the job needs {kind.value}"
        raise RecordsError(what, hint="mend `dataset` in the job")
    return column


def _listed(values: Any) -> str:
    return ", ".join(f"`{value}`" for value in sorted(values))


@dataclass
class _Tally:
    """Counts while rows stream by."""

    labels: tuple[str, ...]
    rows: int = 0
    filtered: int = 0
    rejected: int = 0
    cut: int = 0
    classes: dict[str, dict[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.classes = {label: {TRAINING: 0, VALIDATION: 0} for label in self.labels}

    def side(self, side: str) -> int:
        return sum(counts[side] for counts in self.classes.values())

    def manifest(self, folder: Path, request: ViewRequest) -> ViewManifest:
        return ViewManifest(
            rows=self.rows,
            filtered=self.filtered,
            rejected=self.rejected,
            cut=self.cut,
            training=self.side(TRAINING),
            validation=self.side(VALIDATION),
            classes=self.classes,
            digests={file: sha256_of_file(folder / file) for file in FILES.values()},
            columns=(request.text, request.label),
            filtered_by=tuple(sorted({column for column, _ in request.rows})),
        )


def _check_tally(tally: _Tally, maximum_rejected_share: float, name: str) -> None:
    if not tally.rows:
        raise RecordsError(f"dataset `{name}` is empty", hint="look at the file that the silo document names")
    let_through = tally.rows - tally.filtered
    if not let_through:
        hint = "look at `rows` of the dataset in the site's policy and in the baseline"
        raise RecordsError(f"the policy lets no row of dataset `{name}` through", hint=hint)
    counts = f"{tally.rejected} of {let_through} rows of dataset `{name}`"
    if tally.rejected == let_through:
        raise RecordsError(f"{counts} are unusable", hint="look at the columns that the silo document declares")
    if tally.rejected > maximum_rejected_share * let_through:
        raise RecordsError(
            f"{counts} have no text or an unknown label, more than the share {maximum_rejected_share:g} allowed",
            hint="mend the records, or raise `maximum_rejected_share`",
        )
    if not tally.side(TRAINING):
        raise RecordsError(f"dataset `{name}` has too few records to train on and to validate with")


Records = list[tuple[str, str]]


def _split(
    batch: pa.RecordBatch, column: Column, request: ViewRequest, key: bytes, tally: _Tally
) -> dict[str, Records]:
    sides: dict[str, Records] = {TRAINING: [], VALIDATION: []}
    text_at, label_at = request.read.index(request.text), request.read.index(request.label)
    filters = [(request.read.index(filtered_by), allowed) for filtered_by, allowed in request.rows]
    for row in zip(*(cells.to_pylist() for cells in batch.columns), strict=True):
        tally.rows += 1
        if not all(row[index] in allowed for index, allowed in filters):
            tally.filtered += 1
            continue
        text, label = row[text_at], row[label_at]
        kept = (text or "")[: column.maximum_characters]
        if not kept.strip() or label not in tally.classes:
            tally.rejected += 1
            continue
        tally.cut += len(kept) < len(text)
        side = VALIDATION if held_back(key, kept, request.seed, request.validation_share) else TRAINING
        tally.classes[label][side] += 1
        sides[side].append((kept, label))
    return sides


def _make_durable(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


class _Writers(ExitStack):
    """The view's two Parquet files, written batch by batch."""

    def __init__(self, folder: Path, request: ViewRequest) -> None:
        super().__init__()
        self._schema = pa.schema([(request.text, pa.string()), (request.label, pa.string())])
        self._writers = {side: self._open(folder / file) for side, file in FILES.items()}

    def _open(self, path: Path) -> parquet.ParquetWriter:
        stream = self.enter_context(os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "wb"))
        self.callback(_make_durable, stream)  # after the writer below has written its footer
        return self.enter_context(parquet.ParquetWriter(stream, self._schema))

    def write(self, sides: dict[str, Records]) -> None:
        """Append each side's records to its file."""
        for side, records in sides.items():
            if records:
                columns = [pa.array(cells, pa.string()) for cells in zip(*records, strict=True)]
                self._writers[side].write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))
