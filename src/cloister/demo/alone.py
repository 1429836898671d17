# SPDX-License-Identifier: Apache-2.0
"""What each site would reach alone, beside what they reached together, on records that none of them trained on.

This is a demonstration on one machine: a test set that pools every site's kind of record exists only because all of
them are invented. Each site's trainer gets that site's governed view, the same first adapter, method and number of
steps as in the federated job, and only never hears of the others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from cloister.documents import Document
from cloister.egress import maximum_blob_bytes, write_adapter
from cloister.errors import SandboxError
from cloister.files import private_folder
from cloister.jobs import Job, initial_adapter, layout_of
from cloister.messages import Evaluate, Setup, Train
from cloister.records import ViewRequest, write_view
from cloister.reference import pooled_test
from cloister.reports import Comparison
from cloister.repository import Repository
from cloister.sandbox import Enclosure, Limits, SandboxMode, Trainer, missing

_TEST_RECORDS = 400
_SECONDS = 600.0
_AT_ONCE = 2


@dataclass(frozen=True)
class _Bench:
    """What every measurement needs.

    Attributes:
        repo: the federation's documents.
        job: the job that was run.
        folder: private, for views.
        mode: how trainers are isolated.
    """

    repo: Repository
    job: Job
    folder: Path
    mode: SandboxMode


def compare(
    repo: Repository,
    document: Document[Job],
    adapter: bytes,
    say: Callable[[str], None],
    *,
    records: int = _TEST_RECORDS,
) -> Comparison:
    """Train each of the job's sites alone and measure all on the pooled test set.

    Args:
        repo: the reference federation.
        document: the job that was run.
        adapter: its result, as safetensors.
        say: told of each measurement as it comes.
        records: size of the test set.

    Raises:
        CloisterError: where a view cannot be written or a trainer fails.
    """
    job = document.value
    if reason := missing():
        raise SandboxError(f"the comparison needs the sandbox: {reason}")
    with tempfile.TemporaryDirectory(prefix="alone-", dir=repo.root / "demo") as name:
        bench = _Bench(repo, job, private_folder(Path(name)), SandboxMode.BUBBLEWRAP)
        sites = repo.sites_of(job)
        test = pooled_test(
            "clinical-notes" if job.dataset.name == "clinical-notes" else "complaints", job.training.seed, records
        )
        views = {site: _view(bench, site, test) for site in sites}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            jobs = {site: pool.submit(_alone, bench, site) for site in views}
            together = pool.submit(_measure, bench, sites[0], adapter)
            alone: dict[str, tuple[int, float]] = {}
            before = 0.0
            for site, future in jobs.items():
                before, reached = future.result()
                alone[site] = (views[site], reached)
                say(f"  {site} alone: {reached:.3f}")
            federated = together.result()
            say(f"  together: {federated:.3f}")
    return Comparison(len(test), before, federated, alone)


def _view(bench: _Bench, site: str, test: list[tuple[str, str]]) -> int:
    """A site's governed view with the pooled test set in place of its own validation records."""
    wanted, silo = bench.job.dataset, bench.repo.silos[site].value
    request = ViewRequest(
        text=wanted.text,
        label=wanted.label,
        labels=wanted.labels,
        validation_share=wanted.validation_share,
        seed=bench.job.training.seed,
    )
    folder = bench.folder / site
    manifest = write_view(silo.datasets[wanted.name], request, root=bench.repo.root, folder=folder, name=wanted.name)
    texts, labels = zip(*test, strict=True)
    pooled = pa.table({wanted.text: pa.array(texts, pa.string()), wanted.label: pa.array(labels, pa.string())})
    (folder / "validation.parquet").unlink()
    parquet.write_table(pooled, folder / "validation.parquet")
    return manifest.training


def _trainer(bench: _Bench, site: str) -> Trainer:
    job, silo = bench.job, bench.repo.silos[site].value
    base_model = (bench.repo.root / silo.base_models[job.base_model.name].path).resolve()
    layout = layout_of(base_model, job)
    limits = Limits(int(silo.capacity.memory_gib * 2**30), silo.capacity.processes, 1)
    setup = Setup(
        view=".",
        base_model=".",
        text=job.dataset.text,
        label=job.dataset.label,
        labels=job.dataset.labels,
        lora=job.method.lora,
        training=job.training,
        shapes=layout.shapes(),
        head_modules=layout.head_modules,
        threads=1,
    )
    enclosure = Enclosure(
        view=bench.folder / site,
        base_model=base_model,
        protected=(bench.repo.root / ".cloister",),
        limits=limits,
        log=bench.folder / f"{site}.log",
    )
    return Trainer(enclosure, setup, mode=bench.mode, maximum_blob_bytes=maximum_blob_bytes(layout))


def _alone(bench: _Bench, site: str) -> tuple[float, float]:
    """Accuracy before and after training at one site alone, with the federated job's number of rounds."""
    job = bench.job
    silo = bench.repo.silos[site].value
    layout = layout_of(bench.repo.root / silo.base_models[job.base_model.name].path, job)
    adapter = write_adapter(initial_adapter(layout, job.training.seed))
    with _trainer(bench, site) as trainer:
        trainer.start(_SECONDS)
        before, _ = trainer.ask(Evaluate(), adapter, _SECONDS)
        for number in range(1, job.federation.rounds + 1):
            _, adapter = trainer.ask(Train(round=number), adapter, _SECONDS)
        after, _ = trainer.ask(Evaluate(), adapter, _SECONDS)
    return before.metrics["accuracy"], after.metrics["accuracy"]


def _measure(bench: _Bench, site: str, adapter: bytes) -> float:
    with _trainer(bench, site) as trainer:
        trainer.start(_SECONDS)
        done, _ = trainer.ask(Evaluate(), adapter, _SECONDS)
    return done.metrics["accuracy"]
