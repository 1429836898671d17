# SPDX-License-Identifier: Apache-2.0
"""`cloister demo`: the reference federation, from nothing to a result, and what each site would reach alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cloister.cli.options import FolderOption, JsonOption, federation_of, job_of, output, person_of, repository
from cloister.cli.run import run_job
from cloister.demo import compare, fix_splits, make_material
from cloister.errors import CloisterError, UsageError
from cloister.jobs import Job
from cloister.records import split_key
from cloister.reference.generator import WORDINGS, Kind, pooled_test
from cloister.reports import Comparison, write_report
from cloister.repository import find_root

app = typer.Typer(help="The reference federation with invented records.", no_args_is_help=True, rich_markup_mode=None)

_TEST_RECORDS = 400

JobOption = Annotated[str, typer.Option("--job", metavar="JOB", help="Which of the reference jobs.")]


@app.command("prepare")
def prepare(folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Make the invented records and lay out the base model.

    Where the silo documents expect them.
    """
    del as_json
    made = make_material(find_root(folder.resolve()))
    out = output()
    out.say("\n".join(f"made {path}" for path in made) or "everything is there already")
    out.result({"made": [str(path) for path in made]})


@app.command("run")
def run(job: JobOption = "triage-notes", folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Run a reference job, and compare with each site alone.

    In a real federation on this machine.
    """
    del as_json
    out = output()
    root = find_root(folder.resolve())
    for path in make_material(root):
        out.say(f"made {path.relative_to(root)}")
    repo = repository(root)
    document = job_of(repo, job)
    kind = _kind_of(document.value)
    state = federation_of(repo).state
    fix_splits({site: state.site(site) for site in repo.sites_of(document.value)})
    finished = run_job(repo, job, person_of(repo, ""), out, sign=True)
    out.say("now each site alone, with as many steps, and all measured on records that no site trained on:")
    adapter = (finished.folder / "adapter" / "adapter_model.safetensors").read_bytes()
    test = pooled_test(kind, document.value.seed, _TEST_RECORDS)
    keys = {site: split_key(state.site(site)) for site in repo.sites_of(document.value)}
    with out.busy("training and measuring, two at once"):
        comparison = compare(repo, document, adapter, test, out.say, keys=keys)
    write_report(finished.folder, finished.result, comparison)
    out.say(_table(comparison))
    out.say(f"adapter, model card and result page: {finished.folder.relative_to(federation_of(repo).root)}")
    out.result(vars(comparison) | {"folder": str(finished.folder), "job_id": finished.job_id})
    if comparison.federated <= comparison.best_alone:
        raise CloisterError(
            f"federated {comparison.federated:.3f} is not above the best alone {comparison.best_alone:.3f}"
        )


def _kind_of(job: Job) -> Kind:
    """The kind of records that ``job`` trains on.

    Raises:
        UsageError: where it is none that can be invented anew to test with.
    """
    found = next((kind for kind in WORDINGS if kind == job.dataset.name), None)
    if found is None:
        hint = f"run it with: cloister run {job.job}"
        raise UsageError(f"job `{job.job}` trains on `{job.dataset.name}`, which is not invented here", hint=hint)
    return found


def _table(comparison: Comparison) -> Table:
    """Sites as rows: their records, and accuracy before, alone and federated."""
    table = Table("site", "training records", "before", "alone", "federated", box=None, pad_edge=False)
    for site, (records, alone) in sorted(comparison.alone.items()):
        table.add_row(site, str(records), f"{comparison.before:.3f}", f"{alone:.3f}", f"{comparison.federated:.3f}")
    return table
