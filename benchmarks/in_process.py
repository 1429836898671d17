# SPDX-License-Identifier: Apache-2.0
"""A harness for the other benchmarks: federated, pooled and alone, in this one process.

There is no sandbox, no NVFlare and no wire here, so that many seeds take minutes: what is measured is learning, not
security. All else is what a federation runs: the sites' governed views (`cloister.records.write_view`), descriptions
under a minimum count, pooled by the server (`cloister.jobs.statistics`), the layout and the first weights, the built-in
trainer of the job's task, the weighted mean of updates (`cloister.aggregation`), and the choice of the round that
measured best on the sites' validation records.

Ways are compared from the same first weights and with the same rounds:

* federated: each site's trainer takes the job's steps in each round;
* pooled: one trainer on all sites' training records; in each round as many steps as all sites took, one after another;
* pooled-wide: the same with as many steps as one site took, each of as many records as all sites' steps together;
* alone: each site's trainer by itself, with the job's steps in each round; its network is described by that site alone.

Each is measured on every site's test records, which no way trains on or chooses by. For a study of your own, write a
job as a document, and say by site where its records lie:

    study(job, {"north": Site(training=dataset, test=dataset)}, root=folder, seeds=range(5))
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors.numpy
from pyarrow import parquet

from cloister.aggregation import Contribution, mean_of_metrics, rule_of
from cloister.jobs import METRICS, AdapterLayout, Job, initial_adapter, layout_of
from cloister.jobs.adapter import Arrays
from cloister.jobs.statistics import FeatureStatistics, pooled
from cloister.messages import setup_of
from cloister.records import ViewRequest, describe_view, write_view
from cloister.silos import ColumnKind, Dataset
from cloister.training.interface import Trainer
from cloister.training.tasks import trainer_for
from cloister.vectors import ArraySource
from cloister.wire import Schema, flatten, unflatten

KEY = b"one key for every site, no secret"[:32]
FEDERATED, POOLED, POOLED_WIDE, ALONE, BEFORE = "federated", "pooled", "pooled-wide", "alone", "before training"
WAYS = (FEDERATED, POOLED, POOLED_WIDE, ALONE)

Metrics = dict[str, float]
ByTest = dict[str, Metrics]
"""Metrics by the site whose test records they are of; `together` are those of all sites."""

TOGETHER = "together"


@dataclass(frozen=True)
class Site:
    """Where one site's records lie.

    Attributes:
        training: split by the job into those that are trained on and those that a round is chosen by.
        test: measured on and nothing else.
    """

    training: Dataset
    test: Dataset


@dataclass(frozen=True)
class Run:
    """One seed.

    Attributes:
        seed: of first weights, split and order.
        tested: by way, what its chosen round reaches.
        validated: by way, the job's metric of the chosen round on the records that it was chosen by.
        chosen: by way, the number of that round, 0 being the first weights.
    """

    seed: int
    tested: dict[str, ByTest]
    validated: Metrics
    chosen: dict[str, int]


@dataclass(frozen=True)
class _Bench:
    job: Job
    sites: Mapping[str, Site]
    root: Path
    folder: Path
    base_model: Path | None
    minimum_count: int
    layout: Callable[[Job], AdapterLayout] | None

    @property
    def dataset(self) -> Dataset:
        return next(iter(self.sites.values())).training


def study(
    job: Job,
    sites: Mapping[str, Site],
    *,
    root: Path,
    seeds: Iterable[int],
    base_model: Path | None = None,
    minimum_count: int = 5,
    layout: Callable[[Job], AdapterLayout] | None = None,
    ways: Sequence[str] = WAYS,
    say: Callable[[str], None] = lambda _: None,
) -> list[Run]:
    """Train ``job`` in each way, for each seed.

    Args:
        job: what is trained; its seed is replaced.
        sites: by name.
        root: where relative paths of connectors start.
        seeds: one run each.
        base_model: its folder, where the job names one.
        minimum_count: under which features are described.
        layout: tells the tensors of a job where its document does not, as of images.
        ways: which are wanted.
        say: told of each way as it is done.
    """
    runs = []
    for seed in seeds:
        plan = job.plan.model_copy(update={"seed": seed})
        seeded = job.model_copy(update={"training": plan})
        with tempfile.TemporaryDirectory(prefix="study-") as name:
            bench = _Bench(seeded, sites, root, Path(name), base_model, minimum_count, layout)
            runs.append(_run(bench, seed, ways, say))
    return runs


def _run(bench: _Bench, seed: int, ways: Sequence[str], say: Callable[[str], None]) -> Run:
    names = tuple(bench.sites)
    for name, site in bench.sites.items():
        _write_view(bench, site.training, bench.folder / name)
        _write_test_view(bench, site.test, bench.folder / f"{name}-test")
    _join(bench, [bench.folder / f"{name}-test" for name in names], bench.folder / f"{TOGETHER}-test")
    run = Run(seed, {}, {}, {})
    described = {name: _describe(bench, bench.folder / name) for name in names}
    whole = (
        pooled({name: each for name, each in described.items() if each is not None}) if described[names[0]] else None
    )
    if FEDERATED in ways:
        _compare(bench, run, FEDERATED, names, whole, say)
    if POOLED in ways or POOLED_WIDE in ways:
        _join(bench, [bench.folder / name for name in names], bench.folder / POOLED)
    for way in (POOLED, POOLED_WIDE):
        if way in ways:
            _compare(bench, run, way, (POOLED,), whole, say)
    for name in names if ALONE in ways else ():
        _compare(bench, run, f"{name} alone", (name,), described[name], say)
    return run


def _compare(
    bench: _Bench,
    run: Run,
    way: str,
    views: Sequence[str],
    described: FeatureStatistics | None,
    say: Callable[[str], None],
) -> None:
    """Train on ``views`` and measure on every site's test records."""
    layout = (
        bench.layout(bench.job)
        if bench.layout
        else layout_of(bench.job, base_model=bench.base_model, statistics=described)
    )
    steps = len(bench.sites) if way == POOLED else 1
    batch = len(bench.sites) if way == POOLED_WIDE else 1
    trainers = {view: _trainer(bench, layout, bench.folder / view, described, steps, batch) for view in views}
    first = initial_adapter(layout, bench.job.seed)
    kept = {view: parquet.read_metadata(bench.folder / view / "validation.parquet").num_rows for view in views}
    run.chosen[way], run.validated[way], best = _rounds(bench.job, layout, trainers, kept, first)
    tests = {
        name: _trainer(bench, layout, bench.folder / f"{name}-test", described) for name in (*bench.sites, TOGETHER)
    }
    if not run.tested:
        run.tested[BEFORE] = {name: _measured(trainer, first) for name, trainer in tests.items()}
    run.tested[way] = {name: _measured(trainer, best) for name, trainer in tests.items()}
    shown = ", ".join(f"{name} {value:.3f}" for name, value in run.tested[way][TOGETHER].items())
    say(f"seed {run.seed}, {way}, round {run.chosen[way]} chosen ({run.validated[way]:.4f} on validation): {shown}")


def _rounds(
    job: Job, layout: AdapterLayout, trainers: Mapping[str, Trainer], kept: Mapping[str, int], weights: Arrays
) -> tuple[int, float, Arrays]:
    """Number, measure and weights of the best round, as `cloister.flare.rounds` chooses it.

    Args:
        job: says how many rounds.
        layout: the tensors.
        trainers: by view.
        kept: by view, its validation records.
        weights: the first.
    """
    select = job.select_by
    assert select is not None
    sign = 1.0 if METRICS[select.metric].best == "maximum" else -1.0
    schema = Schema.of(layout)
    best: tuple[float, int, Arrays] | None = None
    for number in range(job.federation.rounds + 1):
        contributions: list[Contribution] = []
        measured: dict[str, tuple[Metrics, int]] = {}
        for view, trainer in trainers.items():
            trainer.load_adapter(safetensors.numpy.save(weights))
            measured[view] = (trainer.evaluate(), kept[view])
            if number < job.federation.rounds:
                done = trainer.train(number + 1, lambda _step, _steps: None)
                trained = safetensors.numpy.load(trainer.adapter())
                update = flatten({name: trained[name] - weights[name] for name in trained}, schema)
                contributions.append(Contribution(view, done.records, ArraySource(update)))
        value = mean_of_metrics(measured).get(select.metric)
        if value is not None and (best is None or sign * value > best[0]):
            best = (sign * value, number, weights)
        if contributions:
            combined = np.concatenate(list(rule_of(job.aggregation).combine(contributions)))
            weights = unflatten(flatten(weights, schema) + combined, schema)
    return (best[1], sign * best[0], best[2]) if best else (job.federation.rounds, float("nan"), weights)


def _measured(trainer: Trainer, weights: Arrays) -> Metrics:
    trainer.load_adapter(safetensors.numpy.save(weights))
    return trainer.evaluate()


def _trainer(
    bench: _Bench,
    layout: AdapterLayout,
    view: Path,
    described: FeatureStatistics | None,
    steps: int = 1,
    batch: int = 1,
) -> Trainer:
    """A trainer on ``view``, of so many times the job's steps in a round and records in a step."""
    plan = bench.job.plan
    if plan.steps is not None:
        changes = {"steps": plan.steps * steps, "batch_size": plan.batch_size * batch}
        plan = plan.model_copy(update=changes)
    job = bench.job.model_copy(update={"training": plan})
    return trainer_for(
        setup_of(job, bench.dataset, layout, view=view, base_model=bench.base_model, threads=1, statistics=described)
    )


def _describe(bench: _Bench, view: Path) -> FeatureStatistics | None:
    if not bench.job.form.statistics:
        return None
    return describe_view(view, bench.dataset, bench.job, bench.minimum_count)


def _write_view(bench: _Bench, dataset: Dataset, folder: Path) -> None:
    wanted = bench.job.dataset
    request = ViewRequest(wanted, bench.job.seed, free_text="keep")
    write_view(dataset, request, key=KEY, root=bench.root, folder=folder, name=wanted.name)


def _write_test_view(bench: _Bench, dataset: Dataset, folder: Path) -> None:
    """A view of which both files hold all test records: trainers measure on the one and insist on the other."""
    _write_view(bench, dataset, folder)
    files = [folder / "train.parquet", folder / "validation.parquet"]
    table = pa.concat_tables([parquet.read_table(file) for file in files])
    for file in files:
        parquet.write_table(table, file)


def _join(bench: _Bench, views: Sequence[Path], folder: Path) -> None:
    """One view of all records of ``views``, each image under its own name."""
    folder.mkdir()
    images = [name for _, name, _ in bench.job.dataset.columns if bench.dataset.columns[name].kind is ColumnKind.IMAGE]
    for file in ("train.parquet", "validation.parquet"):
        tables = []
        for view in views:
            table = parquet.read_table(view / file)
            for column in images:
                cells = [f"{view.name}/{cell}" for cell in table.column(column).to_pylist()]
                table = table.set_column(table.column_names.index(column), column, pa.array(cells, pa.string()))
            tables.append(table)
        parquet.write_table(pa.concat_tables(tables), folder / file)
    for view in views if images else ():
        shutil.copytree(view / "images", folder / view.name / "images", copy_function=_link)


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def parquet_dataset(path: Path, table: pa.Table, columns: Mapping[str, Mapping[str, Any]], **more: Any) -> Dataset:
    """Write ``table`` to ``path``; returns the silo document's entry for it, ``columns`` as such a document says it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
    connector = {"kind": "parquet", "path": str(path)}
    return Dataset.model_validate_json(json.dumps({"connector": connector, "columns": columns, **more}))


def job_of(document: Mapping[str, Any]) -> Job:
    """A job from a document's content."""
    return Job.model_validate_json(json.dumps(document))


def mean_over_sites(tested: ByTest, metric: str) -> float:
    """Mean over sites of ``metric`` on their test records, sites without a value left out."""
    values = [measured[metric] for site, measured in tested.items() if site != TOGETHER and metric in measured]
    return statistics.mean(values) if values else float("nan")


def table_of(runs: Sequence[Run], metric: str) -> str:
    """Markdown: by way, ``metric`` as mean over sites and on all test records together, mean ± deviation over seeds."""
    lines = [
        f"| | {metric}, mean over sites | {metric}, all test records | round chosen |",
        "|---|---|---|---|",
    ]
    for way in runs[0].tested:
        over_sites = [mean_over_sites(run.tested[way], metric) for run in runs]
        together = [run.tested[way][TOGETHER].get(metric, float("nan")) for run in runs]
        rounds = [run.chosen[way] for run in runs if way in run.chosen]
        chosen = f"{min(rounds)} to {max(rounds)}" if rounds else ""
        lines.append(f"| {way} | {spread(over_sites)} | {spread(together)} | {chosen} |")
    return "\n".join(lines)


def by_site(runs: Sequence[Run], metric: str) -> str:
    """Markdown: by way and site, ``metric`` on that site's test records, mean ± deviation over seeds."""
    names = [name for name in runs[0].tested[BEFORE] if name != TOGETHER]
    lines = [f"| {metric} on the test records of | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for way, tested in runs[0].tested.items():
        cells = [
            spread([run.tested[way][name].get(metric, float("nan")) for run in runs])
            for name in tested
            if name in names
        ]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Mean ± sample deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{float(np.mean(values)):.3f} ± {deviation:.3f}"
