# SPDX-License-Identifier: Apache-2.0
"""What each site would reach alone, beside what they reached together, on records that none of them trained on.

This needs records of all sites, or test records of all their kinds, in one place: it is for invented or public records
on one machine. Each site's trainer gets that site's governed view, the same first adapter, method and number of steps
as in the federated job, and only never hears of the others. `pooled` is what one trainer reaches on all views together
with as many steps as all sites took.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from cloister.adapter_file import maximum_blob_bytes
from cloister.documents import Document
from cloister.egress import write_adapter
from cloister.errors import SandboxError, UsageError
from cloister.files import private_folder
from cloister.jobs import AdapterLayout, Job, Task, Training, initial_adapter, layout_of
from cloister.messages import Evaluate, Train, setup_of
from cloister.records import ViewRequest, write_view
from cloister.reports import Comparison
from cloister.repository import Repository
from cloister.sandbox import Enclosure, Limits, SandboxMode, Trainer, missing

Records = Sequence[tuple[str, str]]
"""Texts with their class."""

_SECONDS = 3600.0
_AT_ONCE = 2
_POOLED = "pooled"


@dataclass(frozen=True)
class _Bench:
    """What every measurement needs.

    Attributes:
        repo: the federation's documents.
        job: the job that was run.
        base_model: where it lies.
        layout: the adapter's tensors.
        folder: private, for views.
        keys: by site, the secret that it splits its records with.
        trainers: all that were made.
    """

    repo: Repository
    job: Job
    base_model: Path
    layout: AdapterLayout
    folder: Path
    keys: Mapping[str, bytes]
    trainers: list[Trainer] = field(default_factory=list)


def compare(  # noqa: PLR0913 - what was run, and what it is measured with
    repo: Repository,
    document: Document[Job],
    adapter: bytes,
    test: Records,
    say: Callable[[str], None],
    *,
    keys: Mapping[str, bytes],
    pooled: bool = False,
) -> Comparison:
    """Train each of the job's sites alone and measure all on ``test``.

    Args:
        repo: the federation.
        document: the job that was run.
        adapter: its result, as safetensors.
        test: records that no site holds.
        say: told of each measurement as it comes.
        keys: by site, the secret that it splits its records with, so that each trains on the same ones as in the job.
        pooled: whether to train on all views together as well.

    Raises:
        CloisterError: where a view cannot be written or a trainer fails.
    """
    if reason := missing():
        raise SandboxError(f"the comparison needs the sandbox: {reason}")
    job = document.value
    sites = repo.sites_of(job)
    silo = repo.silos[sites[0]].value
    if job.task is not Task.TEXT_CLASSIFICATION or job.base_model is None:
        raise UsageError(f"jobs of task {job.task} are not compared", hint="only text classification is")
    base_model = (repo.root / silo.base_models[job.base_model.name].path).resolve()
    with tempfile.TemporaryDirectory(prefix="comparison-") as name:
        bench = _Bench(repo, job, base_model, layout_of(job, base_model=base_model), private_folder(Path(name)), keys)
        records = {site: _write_view(bench, site, test) for site in sites}
        with ThreadPoolExecutor(_AT_ONCE) as pool, _ended_upon_failure(bench, pool):
            futures = {site: pool.submit(_trained_on, bench, site, 1) for site in sites}
            if pooled:
                _write_pooled_view(bench, sites)
                futures[_POOLED] = pool.submit(_trained_on, bench, _POOLED, len(sites))
            together = pool.submit(_measured, bench, sites[0], adapter)
            reached: dict[str, tuple[float, float]] = {}
            for place, future in futures.items():
                reached[place] = future.result()
                say(f"  {place}{'' if place == _POOLED else ' alone'}: {reached[place][1]:.3f}")
            federated = together.result()
            say(f"  together: {federated:.3f}")
    return Comparison(
        records=len(test),
        before=reached[sites[0]][0],
        federated=federated,
        alone={site: (records[site], reached[site][1]) for site in sites},
        pooled=reached[_POOLED][1] if pooled else None,
    )


@contextmanager
def _ended_upon_failure(bench: _Bench, pool: ThreadPoolExecutor) -> Iterator[None]:
    """End the trainers where anything fails or somebody interrupts; the pool would wait until they are done."""
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for trainer in bench.trainers:
            trainer.close()
        raise


def _write_view(bench: _Bench, site: str, test: Records) -> int:
    """A site's governed view with the test records in place of its own validation records; returns its size."""
    wanted, silo = bench.job.dataset, bench.repo.silos[site].value
    policies = bench.repo.policies_of(site)
    where, free_text = policies.row_filter(wanted.name), policies.free_text(wanted.name)
    request = ViewRequest(wanted, bench.job.seed, where, free_text)
    folder, key = bench.folder / site, bench.keys[site]
    dataset, root = silo.datasets[wanted.name], bench.repo.root
    manifest = write_view(dataset, request, key=key, root=root, folder=folder, name=wanted.name)
    texts, labels = zip(*test, strict=True)
    cells = {str(wanted.text): pa.array(texts, pa.string()), str(wanted.label): pa.array(labels, pa.string())}
    table = pa.table(cells)
    (folder / "validation.parquet").unlink()
    parquet.write_table(table, folder / "validation.parquet")
    return manifest.training


def _write_pooled_view(bench: _Bench, sites: Sequence[str]) -> None:
    folder = private_folder(bench.folder / _POOLED)
    tables = [parquet.read_table(bench.folder / site / "train.parquet") for site in sites]
    parquet.write_table(pa.concat_tables(tables), folder / "train.parquet")
    shutil.copyfile(bench.folder / sites[0] / "validation.parquet", folder / "validation.parquet")


def _trainer(bench: _Bench, place: str, training: Training) -> Trainer:
    job = bench.job
    site = next(iter(bench.keys)) if place == _POOLED else place
    dataset = bench.repo.silos[site].value.datasets[job.dataset.name]
    view, base_model = bench.folder / place, bench.base_model
    setup = setup_of(job, dataset, bench.layout, view=view, base_model=base_model, threads=1)
    setup = setup.model_copy(update={"training": training})
    enclosure = Enclosure(
        view=bench.folder / place,
        base_model=bench.base_model,
        protected=(),
        limits=Limits(memory_bytes=8 << 30, processes=128, threads=1),
        log=bench.folder / f"{place}.log",
    )
    blob_bytes = maximum_blob_bytes(bench.layout)
    trainer = Trainer(enclosure, setup, mode=SandboxMode.BUBBLEWRAP, maximum_blob_bytes=blob_bytes)
    bench.trainers.append(trainer)
    return trainer


def _trained_on(bench: _Bench, place: str, times: int) -> tuple[float, float]:
    """Accuracy before and after as many rounds as the job has, each of ``times`` its steps or epochs."""
    job = bench.job
    steps = job.plan.steps
    training = job.plan.model_copy(update={"steps": steps * times}) if steps else job.plan
    adapter = write_adapter(initial_adapter(bench.layout, job.seed))
    with _trainer(bench, place, training) as trainer:
        trainer.start(_SECONDS)
        before, _ = trainer.ask(Evaluate(), adapter, _SECONDS)
        for number in range(1, job.federation.rounds + 1):
            _, adapter = trainer.ask(Train(round=number, measure=False), adapter, _SECONDS)
        after, _ = trainer.ask(Evaluate(), adapter, _SECONDS)
    return before.metrics["accuracy"], after.metrics["accuracy"]


def _measured(bench: _Bench, place: str, adapter: bytes) -> float:
    with _trainer(bench, place, bench.job.plan) as trainer:
        trainer.start(_SECONDS)
        done, _ = trainer.ask(Evaluate(), adapter, _SECONDS)
    return done.metrics["accuracy"]
