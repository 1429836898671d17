# SPDX-License-Identifier: Apache-2.0
"""Rounds of real small trainers at two sites under each rule, with what a site keeps between them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloister.errors import TrainerError
from cloister.jobs import AdapterLayout, Job, initial_adapter, layout_of
from cloister.jobs.adapter import Arrays
from cloister.jobs.aggregation import Aggregation
from cloister.jobs.kept_tensors import exchanged_layout, first_kept, is_control, kept_layout
from cloister.messages import Done, Evaluate, Failed, Progress, Setup, Train, read_reply
from cloister.training.conversation import Pipe, _answer, converse
from cloister.training.interface import Round
from tests.blobs import apart, difference, joined
from tests.frames import encode

from ..jobs.tables import job
from .tables import FEATURES, described, setup_of, stays, write_view
from .test_site_tensors import RULES

TRAIN = (stays(120, seed=1), stays(90, seed=2))
VALIDATION = stays(60, seed=3)
STATISTICS = described(TRAIN[0])
FEDPROX: dict[str, Any] = {"client": {"fedprox": {"mu": 1.0}}}


def the_job(**training: Any) -> Job:
    return job(features=FEATURES, architecture={"mlp": {"hidden": [6], "dropout": 0.2}}, steps=4, **training)


@dataclass
class Site:
    """A site's job process as far as tensors go: each request is a new trainer process, as if all had died."""

    view: Path
    said: dict[str, Any]
    job: Job = field(default_factory=the_job)
    kept: Arrays = field(init=False)

    def __post_init__(self) -> None:
        self.layout = layout_of(self.job, statistics=STATISTICS)
        self.aggregation = Aggregation.model_validate(self.said)
        self.kept = first_kept(self.aggregation, self.layout, self.job.seed)

    @property
    def exchanged(self) -> AdapterLayout:
        return exchanged_layout(self.aggregation, self.layout)

    @property
    def setup(self) -> Setup:
        update = {
            "client": self.aggregation.client,
            "shapes": self.exchanged.shapes(),
            "kept": kept_layout(self.aggregation, self.layout).shapes(),
        }
        return setup_of(self.job, self.view, STATISTICS).model_copy(update=update)

    def ask(self, *requests: tuple[Train | Evaluate, bytes]) -> list[tuple[Any, bytes]]:
        frames = [encode(self.setup), *(encode(request, blob) for request, blob in requests)]
        outgoing = io.BytesIO()
        converse(Pipe(io.BytesIO(b"".join(frames)), outgoing))  # type: ignore[arg-type]
        outgoing.seek(0)
        told = list(replies(outgoing))[1:]
        return [each for each in told if not isinstance(each[0], Progress)]  # a slow machine tells how far it is

    def train(self, number: int, shared: Arrays) -> tuple[Done, Arrays, bytes]:
        """Metrics, the update that may leave, and the trainer's bytes."""
        ((done, blob),) = self.ask((Train(round=number), joined(shared, self.kept)))
        assert isinstance(done, Done), done
        found = apart(blob, self.exchanged, kept_layout(self.aggregation, self.layout))
        self.kept = found.kept
        return done, difference(found.exchanged, shared), blob

    def evaluate(self, shared: Arrays) -> dict[str, float]:
        ((done, _),) = self.ask((Evaluate(), joined(shared, self.kept)))
        assert isinstance(done, Done), done
        return done.metrics


def replies(outgoing: io.BytesIO) -> Iterator[tuple[Any, bytes]]:
    while outgoing.tell() < len(outgoing.getvalue()):
        reply, blob_bytes = read_reply(outgoing.read, maximum_blob_bytes=1 << 30)
        yield reply, outgoing.read(blob_bytes)


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("views")
    return tuple(write_view(folder / str(number), table, VALIDATION) for number, table in enumerate(TRAIN))  # type: ignore[return-value]


def rounds(views: tuple[Path, ...], said: dict[str, Any], count: int = 3) -> tuple[list[Site], Arrays]:
    """The sites and the shared weights after so many rounds of the plain mean."""
    sites = [Site(view, said) for view in views]
    shared = initial_adapter(sites[0].exchanged, sites[0].job.seed)
    for number in range(1, count + 1):
        updates = [site.train(number, shared)[1] for site in sites]
        shared = {name: shared[name] + sum(each[name] for each in updates) / len(updates) for name in shared}
    return sites, {name: each.astype(np.float32) for name, each in shared.items()}


@pytest.mark.parametrize("said", [*RULES.values(), FEDPROX], ids=[*RULES, "fedprox"])
def test_new_processes_come_to_the_same_as_one_that_lives(views: tuple[Path, Path], said: dict[str, Any]) -> None:
    site = Site(views[0], said)
    shared = initial_adapter(site.exchanged, site.job.seed)
    sent = []
    for number in (1, 2):
        before = joined(shared, site.kept)
        _, _, blob = site.train(number, shared)
        sent.append((Train(round=number), before, blob))
    living = Site(views[0], said)
    answers = living.ask(*((request, before) for request, before, _ in sent))
    assert [blob for _, blob in answers] == [blob for *_, blob in sent]


@pytest.mark.parametrize("said", [*RULES.values(), FEDPROX], ids=[*RULES, "fedprox"])
def test_what_leaves_is_what_is_exchanged_and_nothing_else(views: tuple[Path, Path], said: dict[str, Any]) -> None:
    site = Site(views[0], said)
    shared = initial_adapter(site.exchanged, site.job.seed)
    first = site.kept
    _, update, _ = site.train(1, shared)
    assert {name: each.shape for name, each in update.items()} == site.exchanged.shapes()
    assert all(each.any() for each in update.values())
    assert set(site.kept) == set(site.setup.kept)
    assert all(not np.array_equal(site.kept[name], first[name]) for name in first)


@pytest.mark.parametrize("layer", ["head", "layers.0"])
def test_personal_layers_differ_by_site_and_are_measured_in_place(views: tuple[Path, Path], layer: str) -> None:
    sites, shared = rounds(views, {"personal": (layer,)})
    names = [f"{layer}.bias", f"{layer}.weight"]
    assert sorted(sites[0].kept) == names
    assert not set(names) & set(shared)
    assert all(not np.array_equal(sites[0].kept[name], sites[1].kept[name]) for name in names)
    own = sites[0].evaluate(shared)
    sites[0].kept = sites[1].kept
    assert sites[0].evaluate(shared) != own


def test_personal_layers_start_as_shared_ones_would(views: tuple[Path, Path]) -> None:
    """One site with a personal head learns what it learns without, where the other layers start the same."""
    site, plain = Site(views[0], {"personal": ("head",)}), Site(views[0], {})
    whole = initial_adapter(plain.layout, plain.job.seed)
    shared = {name: each for name, each in whole.items() if name in site.exchanged.shapes()}
    _, update, _ = site.train(1, shared)
    _, expected, _ = plain.train(1, whole)
    assert all(np.array_equal(each, expected[name]) for name, each in update.items())
    assert all(np.allclose(each, whole[name] + expected[name]) for name, each in site.kept.items())


def test_scaffold_keeps_all_sites_control_the_mean_of_their_own(views: tuple[Path, Path]) -> None:
    sites, shared = rounds(views, RULES["scaffold"])
    for name in filter(is_control, shared):
        own = [site.kept[name.replace("control.", "control_own.", 1)] for site in sites]
        assert own[0].any()
        assert not np.allclose(own[0], own[1])
        assert np.allclose(shared[name], (own[0] + own[1]) / 2, atol=1e-5)


def test_ditto_leaves_the_shared_network_as_plain_training_makes_it(views: tuple[Path, Path]) -> None:
    sites, shared = rounds(views, RULES["ditto"])
    _, plain = rounds(views, {})
    assert shared.keys() == plain.keys()
    assert all(np.array_equal(shared[name], plain[name]) for name in plain)
    metrics = sites[0].evaluate(shared)
    assert set(metrics) == {
        *("accuracy", "auc", "loss", "macro_f1"),
        *("personal_accuracy", "personal_auc", "personal_loss", "personal_macro_f1"),
    }
    assert metrics["personal_loss"] != metrics["loss"]
    kept = {name.removeprefix("ditto."): each for name, each in sites[0].kept.items()}
    copy = Site(views[0], {}).evaluate(kept)
    assert {f"personal_{name}": value for name, value in copy.items()}.items() <= metrics.items()


def test_ditto_has_no_copy_to_measure_at_first(views: tuple[Path, Path]) -> None:
    site = Site(views[0], RULES["ditto"])
    done, _, _ = site.train(1, initial_adapter(site.exchanged, site.job.seed))
    assert not [name for name in done.metrics if name.startswith("personal_")]


def test_fedprox_moves_less(views: tuple[Path, Path]) -> None:
    def moved(said: dict[str, Any]) -> float:
        site = Site(views[0], said)
        _, update, _ = site.train(1, initial_adapter(site.exchanged, site.job.seed))
        return float(np.sqrt(sum(float((each**2).sum()) for each in update.values())))

    assert moved({"client": {"fedprox": {"mu": 100.0}}}) < 0.7 * moved({})


def test_a_factor_cannot_be_left_where_there_is_none(views: tuple[Path, Path]) -> None:
    site = Site(views[0], {})
    ((failed, _),) = site.ask((Train(round=1, frozen="a"), joined(initial_adapter(site.exchanged, 0), {})))
    assert isinstance(failed, Failed)
    assert "trains no such factor" in failed.reason


def test_what_a_site_keeps_must_come_with_the_request(views: tuple[Path, Path]) -> None:
    site = Site(views[0], {"personal": ("head",)})
    ((failed, _),) = site.ask((Train(round=1), joined(initial_adapter(site.exchanged, 0), {})))
    assert isinstance(failed, Failed)
    assert "not those of the job" in failed.reason


class Own:
    """A trainer as a job may bring one: five methods, and nothing of factors."""

    def load_adapter(self, blob: bytes) -> None: ...

    def adapter(self) -> bytes:
        return b""

    def evaluate(self) -> dict[str, float]:
        return {"accuracy": 0.5}

    def train(self, number: int, report: Any) -> Round:
        return Round(float(number), 1)


def test_a_trainer_that_cannot_leave_a_factor_is_not_asked_to() -> None:
    pipe = Pipe(io.BytesIO(), io.BytesIO())  # type: ignore[arg-type]
    done, _ = _answer(Own(), Train(round=1), pipe)  # type: ignore[arg-type]
    assert done.metrics == {"accuracy": 0.5, "train_loss": 1.0}
    with pytest.raises(TrainerError, match="own trainer cannot"):
        _answer(Own(), Train(round=1, frozen="b"), pipe)  # type: ignore[arg-type]
