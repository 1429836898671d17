# SPDX-License-Identifier: Apache-2.0
"""The governed view: the part of a dataset that one job's trainer may see, written to a private folder.

1. The view holds the columns that the job names, and the policy grants. Nothing else is read from the store, but for
   the columns that the policy filters rows by, and the person that a record is about: those are read, and not copied.
   Where the job asks for the person, the view holds a pseudonym.
2. A column that the dataset does not declare does not exist. A column of kind identifier cannot be asked for.
3. A column is of a kind that the job's task can use it for; a column of classes has the very labels of the job.
4. A row that the policy's filter does not let through is left out before anything else is looked at, and counted. A
   condition on a cell that is missing, or is not what its column declares, lets no row through.
5. A row is rejected, and counted by column, where a cell breaks what its column declares, or nothing is in a cell that
   the job learns from or towards, or in one that is required. Above the dataset's share of rejected rows, among those
   that the filter lets through, there is no view at all.
6. A text longer than the column allows is cut, and counted.
7. Free text in which somebody seems to be named is masked, unless the policy says `keep`; what was found is counted,
   and where the policy says `refuse`, whoever asked for the view gives it to nobody.
8. A record is kept for validation by the site's secret, the seed and whom it is about, see `split` beside this; by
   its text or image, or all that the view holds of it, where the dataset says of nobody. So nobody is on both sides,
   and nobody outside the site can tell on which. Records that are told by columns alone are each drawn for by
   themselves where several are alike: how many are on a side says nothing of how many have a value.
9. A view whose records to train on are of one person alone is refused.
10. The folder appears whole or not at all. It holds `train.parquet`, `validation.parquet`, `manifest.json` and, where
   rows name any, `images/`.

Memory does not grow with the number of rows, but for eight bytes or so for each different person, and for
what `occurrences` beside this keeps.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from cloister.errors import RecordsError
from cloister.files import PRIVATE_FOLDER, sync_folder, write_json
from cloister.records.interface import Store
from cloister.records.lean_memory import lean_memory
from cloister.records.read_ahead import read_ahead
from cloister.records.stores import open_store
from cloister.records.view.files import FILES, ViewImages, ViewWriters
from cloister.records.view.manifest import TRAINING, VALIDATION, ViewManifest
from cloister.records.view.request import FREE_TEXT, ViewRequest, check_request
from cloister.records.view.sieve import FreeTextGate, Sieve, Tally
from cloister.silos import ColumnKind, Dataset

MANIFEST = "manifest.json"


def write_view(
    dataset: Dataset, request: ViewRequest, *, key: bytes, root: Path, folder: Path, name: str
) -> ViewManifest:
    """Write the view of ``dataset`` that ``request`` asks for into ``folder``.

    Args:
        dataset: as the silo document declares it.
        request: what the job asks for.
        key: the site's secret that the split is made with; see `cloister.records.view.split.split_key`.
        root: the federation's folder, where relative paths start.
        folder: to be made, readable by the owner alone; may not exist yet.
        name: the dataset's name, for messages.

    Raises:
        RecordsError: where there is no view to be had; nothing half-written is left.
    """
    check_request(dataset, request, name=name)
    store = open_store(dataset, root=root)
    if folder.exists() or folder.is_symlink():
        raise RecordsError(f"the view's folder `{folder}` exists already", hint="remove it first")
    temporary = None
    try:
        folder.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))  # mkdtemp makes it 0700
        with lean_memory():
            manifest = _write(dataset, request, store, key, temporary, name)
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


def _write(dataset: Dataset, request: ViewRequest, store: Store, key: bytes, folder: Path, name: str) -> ViewManifest:
    images = ViewImages(folder, store)
    sieve = Sieve(dataset, request, key, _gate(dataset, request), images.take)
    with ViewWriters(folder, sieve.schema) as writers:
        batches = store.batches(request.read(dataset), request.where)
        # Where rows name images, those are read from the store meanwhile, which knows of one thread.
        ahead = store.read_by_arrow and not _has_images(dataset, request)
        for batch in read_ahead(batches) if ahead else batches:
            writers.write(sieve(batch))
    sieve.tally.rows += store.left_out
    sieve.tally.filtered += store.left_out
    check_tally(sieve.tally, dataset, name)
    digests = writers.digests | images.digests
    return _manifest(sieve, dataset, request, digests).sealed(key)


def _has_images(dataset: Dataset, request: ViewRequest) -> bool:
    return any(dataset.columns[column].kind is ColumnKind.IMAGE for column in request.view)


def _gate(dataset: Dataset, request: ViewRequest) -> FreeTextGate | None:
    if request.free_text == "keep" or not any(dataset.columns[column].kind in FREE_TEXT for column in request.view):
        return None
    from cloister.records.free_text.deidentify import Deidentifier  # noqa: PLC0415 - takes a second to load, and most need none

    return Deidentifier()


def _manifest(sieve: Sieve, dataset: Dataset, request: ViewRequest, digests: dict[str, str]) -> ViewManifest:
    tally = sieve.tally
    people = None
    if dataset.person is not None:
        people = {side: len(found) for side, found in tally.people.items()}
    return ViewManifest(
        rows=tally.rows,
        filtered=tally.filtered,
        rejected=tally.rejected,
        cut=tally.cut,
        training=tally.sides[TRAINING],
        validation=tally.sides[VALIDATION],
        classes={label: {side: counts[side] for side in FILES} for label, counts in tally.classes.items()},
        digests=digests,
        columns={column: dataset.columns[column].kind.value for column in request.view},
        filtered_by=request.filtered_by,
        rejected_by=dict(sorted(tally.rejected_by.items())),
        people=people,
        free_text=request.free_text,
        identifying={column: dict(sorted(found.items())) for column, found in tally.identifying.items()},
        identifying_share={
            column: round(tally.identifying_cells[column] / max(1, tally.kept), 6) for column in tally.identifying
        },
    )


def check_tally(tally: Tally, dataset: Dataset, name: str) -> None:
    """See that so many rows as were counted make a view.

    Raises:
        RecordsError: where they do not.
    """
    if not tally.rows:
        raise RecordsError(f"dataset `{name}` is empty", hint="look at what the silo document names")
    let_through = tally.rows - tally.filtered
    if not let_through:
        hint = "look at `rows` and `filter` of the dataset in the site's policy and in the baseline"
        raise RecordsError(f"the policy lets no row of dataset `{name}` through", hint=hint)
    counts = f"{tally.rejected} of {let_through} rows of dataset `{name}`"
    reasons = ", ".join(f"{rows} by `{column}`" for column, rows in sorted(tally.rejected_by.items()))
    if tally.rejected == let_through:
        hint = "look at the columns that the silo document declares; `cloister data check` at the site says more"
        raise RecordsError(f"{counts} are unusable ({reasons})", hint=hint)
    if tally.rejected > dataset.maximum_rejected_share * let_through:
        raise RecordsError(
            f"{counts} break what the silo document declares ({reasons}), more than the share "
            f"{dataset.maximum_rejected_share:g} allowed",
            hint="mend the records, or raise `maximum_rejected_share`; `cloister data check` at the site says more",
        )
    people = sum(len(found) for found in tally.people.values())  # nobody is on both sides
    # Asked first: where the one person is drawn for validation, there is nothing to train on.
    if dataset.person is not None and 1 in (people, len(tally.people[TRAINING])):
        raise RecordsError(
            f"the records of dataset `{name}` to train on are of one person alone",
            hint="look at which column the silo document names as `person`",
        )
    if not tally.sides[TRAINING]:
        raise RecordsError(f"dataset `{name}` has too few records to train on and to validate with")


__all__ = ["MANIFEST", "ViewManifest", "ViewRequest", "check_request", "check_tally", "write_view"]
