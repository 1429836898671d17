# SPDX-License-Identifier: Apache-2.0
"""What is added to scores, and what trainers of classifiers learn with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import RecordsError, TrainerError
from cloister.jobs import initial_adapter, layout_of
from cloister.jobs.adapter import Arrays
from cloister.jobs.aggregation import Calibration, ClientRule
from cloister.training.calibration import calibrating_scores
from cloister.training.image_classifier import ImageClassifier
from cloister.training.network_trainer import NetworkTrainer
from cloister.training.survival import SurvivalTrainer
from cloister.training.tabular import TabularTrainer
from cloister.training.text_classifier import TextClassifier

from ..jobs.tables import job as table_job
from . import conftest as notes
from . import pictures, tables

Start = Callable[[dict[str, float] | None, bool], NetworkTrainer]
"""A trainer with the first weights: calibrated by shares where the flag says so, plain otherwise."""


def classes(**counts: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.repeat(np.arange(len(counts)), list(counts.values()))


def softmax(scores: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    raised = np.exp(scores - scores.max())
    return raised / raised.sum()


@given(
    counts=st.lists(st.integers(0, 1000), min_size=2, max_size=9),
    data=st.data(),
)
def test_scores_that_are_right_where_the_network_is_used_are_right_at_the_site(
    counts: list[int], data: st.DataObject
) -> None:
    """Bayes: with log q - log r added, scores log p(x|y) + log r(y) give the site's own probabilities."""
    positive = st.lists(st.floats(1e-3, 1e3), min_size=len(counts), max_size=len(counts))
    likelihood, used = np.array(data.draw(positive)), np.array(data.draw(positive))
    names = [f"class {number}" for number in range(len(counts))]
    rule = Calibration(shares=dict(zip(names, used.tolist(), strict=True)))
    added = calibrating_scores(rule, names, np.repeat(np.arange(len(counts)), counts))
    here = np.array(counts) + 0.5
    expected = likelihood * here / (likelihood * here).sum()
    assert softmax(np.log(likelihood * used / used.sum()) + added) == pytest.approx(expected, rel=1e-4)


def test_counts_and_shares_say_the_same() -> None:
    here, names = classes(a=30, b=10), ["a", "b"]
    by_count = calibrating_scores(Calibration(shares={"a": 600, "b": 200}), names, here)
    by_share = calibrating_scores(Calibration(shares={"b": 0.25, "a": 0.75}), names, here)
    assert by_count == pytest.approx(by_share, abs=1e-6)


def test_without_shares_every_class_counts_alike() -> None:
    added = calibrating_scores(Calibration(), ["a", "b"], classes(a=30, b=10))
    assert added[0] - added[1] == pytest.approx(np.log(30.5 / 10.5))
    assert added == pytest.approx(
        calibrating_scores(Calibration(shares={"a": 1, "b": 1}), ["a", "b"], classes(a=30, b=10))
    )


def test_a_class_that_never_comes_at_the_site_has_a_finite_score() -> None:
    added = calibrating_scores(Calibration(), ["a", "b", "c"], classes(a=30))
    assert np.isfinite(added).all()
    assert added[0] > added[1] == added[2]


def _rule(shares: dict[str, float] | None, given: bool) -> ClientRule | None:
    return ClientRule(calibration=Calibration(shares=shares)) if given else None


@pytest.fixture
def tabular(tmp_path: Path) -> Start:
    train = tables.stays(200, seed=1)
    job = table_job(features=tables.FEATURES, architecture={"mlp": {"hidden": [6], "dropout": 0.2}}, steps=30)
    described = tables.described(train)
    view = tables.write_view(tmp_path / "stays", train, tables.stays(80, seed=2))

    def start(shares: dict[str, float] | None, given: bool) -> NetworkTrainer:
        setup = tables.setup_of(job, view, described).model_copy(update={"client": _rule(shares, given)})
        trainer = TabularTrainer(setup)
        first = initial_adapter(layout_of(job, statistics=described), 0)
        trainer.load_adapter(safetensors.numpy.save(first))
        return trainer

    return start


@pytest.fixture
def imaging(tmp_path: Path) -> Start:
    job = pictures.CLASSIFIER
    view = pictures.write_view(tmp_path / "scans", job, train=11, validation=8)

    def start(shares: dict[str, float] | None, given: bool) -> NetworkTrainer:
        trainer = ImageClassifier(pictures.setup_of(job, view, client=_rule(shares, given)))
        trainer.load_adapter(pictures.first_weights(job))
        return trainer

    return start


@pytest.fixture
def texts(base_model: Path, tmp_path: Path) -> Start:
    job = notes.job()
    layout = layout_of(job, base_model=base_model)
    view = notes.write_view(tmp_path / "notes", train=50, validation=30)

    def start(shares: dict[str, float] | None, given: bool) -> NetworkTrainer:
        setup = notes.setup_of(job, layout, view, base_model).model_copy(update={"client": _rule(shares, given)})
        trainer = TextClassifier(setup)
        trainer.load_adapter(safetensors.numpy.save(initial_adapter(layout, 0)))
        return trainer

    return start


KINDS = [
    "tabular",
    "imaging",
    pytest.param(
        "texts",
        marks=[
            pytest.mark.slow,
            # peft asks transformers by a name that transformers is about to drop
            pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
        ],
    ),
]


@pytest.fixture(params=KINDS)
def start(request: pytest.FixtureRequest) -> Start:
    found: Start = request.getfixturevalue(request.param)
    return found


def learnt(trainer: NetworkTrainer) -> Arrays:
    trainer.train(1, lambda _step, _steps: None)
    found: Arrays = safetensors.numpy.load(trainer.adapter())
    return found


def counts(trainer: NetworkTrainer) -> dict[str, float]:
    """How often each class comes there, as the rule counts it."""
    view = pyarrow.parquet.read_table(f"{trainer.setup.view}/train.parquet")
    found = Counter(view[trainer.setup.dataset.label].to_pylist())
    return {label: found[label] + 0.5 for label in trainer.setup.labels}


def test_where_classes_come_as_often_as_in_use_nothing_is_different(start: Start) -> None:
    plain = start(None, False)
    same, without = start(counts(plain), True), learnt(plain)
    assert all(np.array_equal(each, without[name]) for name, each in learnt(same).items())


def test_where_they_do_not_something_else_is_learnt(start: Start) -> None:
    plain = start(None, False)
    rare = dict.fromkeys(plain.setup.labels, 1.0) | {plain.setup.labels[0]: 100.0}
    calibrated, without = start(rare, True), learnt(plain)
    assert any(not np.array_equal(each, without[name]) for name, each in learnt(calibrated).items())


def test_what_is_measured_is_the_network_alone(start: Start) -> None:
    plain = start(None, False)
    rare = dict.fromkeys(plain.setup.labels, 1.0) | {plain.setup.labels[0]: 100.0}
    assert start(rare, True).evaluate() == plain.evaluate()


def test_the_first_loss_does_not_tell_how_often_classes_come(start: Start) -> None:
    """It is the same as without, where the network has learnt nothing yet: the calibrated one is not."""
    plain = start(None, False)
    rare = dict.fromkeys(plain.setup.labels, 1.0) | {plain.setup.labels[0]: 100.0}
    losses = []
    for trainer in (plain, start(rare, True)):
        once = trainer.setup.training.model_copy(update={"steps": 1})
        trainer.setup = trainer.setup.model_copy(update={"training": once})
        losses.append(trainer.train(1, lambda _step, _steps: None).loss)
    assert losses[1] == losses[0]


def test_a_view_that_is_read_anew_is_counted_anew(tabular: Start, tmp_path: Path) -> None:
    trainer = tabular(None, True)
    before = trainer._added
    assert before is not None
    other = tables.stays(200, seed=1).filter(pa.compute.equal(tables.stays(200, seed=1)["ill"], "yes"))
    view = tables.write_view(tmp_path / "other", other, tables.stays(80, seed=2))
    trainer.read_anew(trainer.setup.model_copy(update={"view": str(view)}))
    after = trainer._added
    assert after is not None
    assert after[1] - after[0] > before[1] - before[0] + 1


def test_a_site_that_hardly_sees_a_class_teaches_what_holds_elsewhere(tmp_path: Path) -> None:
    """Measured on records of everybody: the share of those that are ill is a twentieth of theirs at the site."""
    table, held = tables.stays(2000, seed=1), tables.stays(600, seed=2)
    ill = np.array(table["ill"].to_pylist()) == "yes"
    seen = ~ill | (np.random.default_rng(5).random(len(ill)) < 0.05)
    view = tables.write_view(tmp_path, table.filter(pa.array(seen)), held)
    job = table_job(features=tables.FEATURES, architecture={"mlp": {"hidden": [6]}}, steps=300)
    described = tables.described(table)
    everywhere: dict[str, float] = {"no": int((~ill).sum()), "yes": int(ill.sum())}
    found = []
    for rule in (None, _rule(everywhere, True)):
        trainer = TabularTrainer(tables.setup_of(job, view, described).model_copy(update={"client": rule}))
        trainer.load_adapter(safetensors.numpy.save(initial_adapter(layout_of(job, statistics=described), 0)))
        trainer.train(1, lambda _step, _steps: None)
        found.append(trainer.evaluate())
    plain, calibrated = found
    assert calibrated["loss"] < 0.7 * plain["loss"]
    assert calibrated["accuracy"] > plain["accuracy"] + 0.03


def test_a_class_that_is_not_the_jobs_is_found_before_the_first_round(imaging: Start) -> None:
    view = imaging(None, False).setup.view
    table = pyarrow.parquet.read_table(f"{view}/train.parquet")
    wrong = pa.array(["nothing of the kind", *table["finding"].to_pylist()[1:]])
    pyarrow.parquet.write_table(
        table.set_column(table.schema.get_field_index("finding"), "finding", wrong), f"{view}/train.parquet"
    )
    with pytest.raises(RecordsError, match="holds a class that is not the job's"):
        imaging(None, True)


@pytest.mark.parametrize("task", ["tabular-regression", "survival"])
def test_what_has_no_classes_is_refused(task: str, tmp_path: Path) -> None:
    train = tables.stays(60, seed=1)
    job, described = table_job(task, features=tables.FEATURES), tables.described(train)
    view = tables.write_view(tmp_path, train, train)
    setup = tables.setup_of(job, view, described).model_copy(update={"client": _rule(None, True)})
    kind = SurvivalTrainer if task == "survival" else TabularTrainer
    with pytest.raises(TrainerError, match="has no classes to calibrate"):
        kind(setup)
