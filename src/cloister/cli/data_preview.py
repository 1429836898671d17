# SPDX-License-Identifier: Apache-2.0
"""`cloister data preview`: a few records of a site, as a job's trainer would see them; at the site, for its own people.

This is the one command that shows what records hold. So it asks, runs where the site's key lies and nowhere else, and
writes into the site's audit log who was shown how many records before it shows any.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer
from rich.table import Table

from cloister.certificates import identities, startup_folder
from cloister.cli.data_check import SiteArgument, datasets_of, granted_columns
from cloister.cli.options import FolderOption, JsonOption, federation_of, output, repository
from cloister.errors import DeniedError, RecordsError, UsageError
from cloister.flare.audit_log import log_of_site, record_preview
from cloister.flare.state import SiteSettings
from cloister.provisioning import KitPaths
from cloister.records import ViewRequest, split_key
from cloister.records.examine import request_of_all
from cloister.records.free_text.deidentify import Deidentifier
from cloister.records.stores import open_store
from cloister.records.view.request import FREE_TEXT, check_filter
from cloister.records.view.sieve import Sieve
from cloister.repository import Repository
from cloister.silos import Dataset

MAXIMUM_ROWS = 20

_SHOWN_CHARACTERS = 400

DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset of the site's silo document.")]
RowsOption = Annotated[
    int, typer.Option("--rows", min=1, max=MAXIMUM_ROWS, help=f"How many records, {MAXIMUM_ROWS} at most.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")]


def preview(
    site: SiteArgument,
    dataset: DatasetArgument,
    rows: RowsOption = 5,
    yes: YesOption = False,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show a few records as a job would see them.

    At the site: what its policy grants, filtered and masked, never identifiers. Asks first.
    """
    del as_json
    repo = repository(folder)
    datasets = datasets_of(repo, site)
    if dataset not in datasets:
        raise UsageError(f"`{site}` has no dataset `{dataset}`", hint=f"it has {', '.join(datasets)}")
    _check_at_the_site(repo, site)
    request = _request(repo, site, dataset, datasets[dataset])
    out = output()
    warning = f"RECORDS of {site} are about to be SHOWN: {rows} of `{dataset}`, as its policy grants them"
    if not yes and not _agreed(warning):
        raise DeniedError("nothing was shown, because nobody said yes", hint="answer `y` at a terminal, or give --yes")
    if yes:
        out.say(warning)
    shown = _records(repo, site, datasets[dataset], request, rows)
    log = log_of_site(SiteSettings.at(federation_of(repo).state.site(site)))
    record_preview(log, dataset, request.view, len(shown), repo.policies_of(site).digest)
    table = Table(*request.view, show_lines=True)
    for record in shown:
        table.add_row(*(_cell(record[column]) for column in request.view))
    out.say(table)
    text = repo.policies_of(site).free_text(dataset)
    if any(datasets[dataset].columns[column].kind in FREE_TEXT for column in request.view):
        out.say(f"free text: {'as it is' if text == 'keep' else 'what seems to name somebody is masked'} ({text})")
    out.result({"site": site, "dataset": dataset, "records": shown})


def _check_at_the_site(repo: Repository, site: str) -> None:
    """See that this machine is the site's: its private key lies here.

    Raises:
        DeniedError: where it does not.
    """
    state = federation_of(repo).state
    identity = next(each for each in identities(repo.federation.value) if each.kind == "site" and each.name == site)
    if not KitPaths.of(startup_folder(state.folder, identity), identity).key.is_file():
        hint = "run it at the site, in the folder where its key lies"
        raise DeniedError(
            f"this machine does not hold the key of site `{site}`, so it shows none of its records", hint=hint
        )


def _request(repo: Repository, site: str, name: str, dataset: Dataset) -> ViewRequest:
    granted = granted_columns(repo, site, name)
    request = request_of_all(dataset, name, granted, repo.policies_of(site).row_filter(name))
    if request is None:
        raise DeniedError(f"the policy of `{site}` grants no column of `{name}`, so no job would see anything")
    check_filter(dataset, request.where, name=name)
    return request


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return typer.confirm(f"{question}. Go on?", err=True)
    except typer.Abort:
        return False


def _records(repo: Repository, site: str, dataset: Dataset, request: ViewRequest, rows: int) -> list[dict[str, Any]]:
    store = open_store(dataset, root=repo.root)
    looks = repo.policies_of(site).free_text(request.wanted.name) != "keep"

    def take(row: dict[str, str]) -> dict[str, str] | None:
        try:
            shapes = {column: store.read_image(name).values.shape for column, name in row.items()}
        except RecordsError:
            return None
        return {column: f"image, {' × '.join(map(str, shape))}" for column, shape in shapes.items()}

    key = split_key(federation_of(repo).state.site(site))
    sieve = Sieve(dataset, request, key, Deidentifier() if looks else None, take)
    found: list[dict[str, Any]] = []
    for batch in store.batches(request.read(dataset), request.where):
        for start in range(0, batch.num_rows, MAXIMUM_ROWS):  # a few at a time: masking and images take long
            sides = sieve(batch.slice(start, MAXIMUM_ROWS))
            found += pa.Table.from_batches([*sides.values()]).to_pylist()
            if len(found) >= rows:
                return found[:rows]
    return found


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    text = "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
