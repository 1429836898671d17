# SPDX-License-Identifier: Apache-2.0
"""What of the weights is sent to whom, and what is left on the disk meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cloister.errors import JobError
from cloister.files import private_folder
from cloister.flare import broadcast as module
from cloister.flare.broadcast import Broadcast
from cloister.flare.site_weights import SiteWeights
from cloister.jobs import AdapterLayout, TensorSpec
from cloister.jobs.compression import CodecName, Compression
from cloister.vectors import BLOCK_VALUES
from cloister.weights_file import WeightsFile

LAYOUT = AdapterLayout((TensorSpec("a", (2, 3), "uniform"), TensorSpec("b", (400,), "zeros")), ())
JOB = "0" * 64


def version(folder: Path, number: int) -> WeightsFile:
    drawn = np.random.default_rng(number).normal(size=LAYOUT.size).astype(np.float32)
    return WeightsFile.write(folder / f"weights-{number}.safetensors", LAYOUT, [drawn])


def begun(folder: Path, down: CodecName = "float32", *, error_feedback: bool = True) -> Broadcast:
    plan = Compression(down=down, error_feedback=error_feedback)
    broadcast = Broadcast(plan, private_folder(folder / "sent"), JOB)
    broadcast.begin(version(folder, 0))
    return broadcast


def test_before_there_are_weights_nothing_is_sent(tmp_path: Path) -> None:
    broadcast = Broadcast(Compression(), private_folder(tmp_path / "sent"), JOB)
    with pytest.raises(JobError, match="not agreed"):
        broadcast.tasks(["alpha"])
    with pytest.raises(JobError, match="not agreed"):
        broadcast.advance(version(tmp_path, 1), None)


@pytest.mark.parametrize("down", ["float32", "bfloat16", "int8", "int4"])
def test_every_site_comes_to_have_the_same_weights(tmp_path: Path, down: CodecName) -> None:
    broadcast = begun(tmp_path, down)
    sites = {site: SiteWeights(LAYOUT, private_folder(tmp_path / site)) for site in ("alpha", "beta")}
    for number, asked in enumerate((["alpha", "beta"], ["alpha"], ["beta", "alpha"], ["alpha", "beta"])):
        if number:
            broadcast.advance(version(tmp_path, number), None)
        told = {site: (sent, path) for names, sent, path in broadcast.tasks(asked) for site in names}
        assert sorted(told) == sorted(asked)
        assert told["alpha"][0].kind == ("whole" if number == 0 else "values" if down == "float32" else "differences")
        for site, (sent, path) in told.items():
            found = sites[site].take(sent, path).arrays()
            broadcast.has(site)
            for name, array in broadcast.known.arrays().items():
                np.testing.assert_array_equal(found[name], array)
        if number == 2:
            assert told["beta"][0].kind == "whole"  # it missed a round


FACTOR = "base_model.model.encoder.query.lora_A.weight"


@pytest.mark.parametrize("down", ["float32", "bfloat16", "int4"])
@pytest.mark.parametrize("others", [0, BLOCK_VALUES + 5])
def test_a_step_without_a_factor_leaves_it_as_it_is(tmp_path: Path, down: CodecName, others: int) -> None:
    tensors = (TensorSpec(FACTOR, (2, 3), "uniform"),)
    tensors += (TensorSpec("z", (others,), "zeros"),) if others else ()
    layout, drawn = AdapterLayout(tensors, ()), np.random.default_rng(5).normal(size=(2, 6 + others))
    first, second = (
        WeightsFile.write(tmp_path / f"weights-{number}.safetensors", layout, [values])
        for number, values in enumerate(
            np.concatenate((drawn[:1, :6].repeat(2, 0), drawn[:, 6:]), 1).astype(np.float32)
        )
    )
    broadcast = Broadcast(Compression(down=down), private_folder(tmp_path / "sent"), JOB)
    broadcast.begin(first)
    site = SiteWeights(layout, private_folder(tmp_path / "alpha"))
    ((_, sent, path),) = broadcast.tasks(["alpha"])
    site.take(sent, path)
    broadcast.has("alpha")
    broadcast.advance(second, "a")
    ((_, sent, path),) = broadcast.tasks(["alpha"])
    assert sent.without == "a"
    found = site.take(sent, path).arrays()
    np.testing.assert_array_equal(found[FACTOR].ravel(), first.arrays()[FACTOR].ravel())
    for name, array in broadcast.known.arrays().items():
        np.testing.assert_array_equal(found[name], array)


def test_a_site_that_was_only_asked_is_not_held_to_have_the_weights(tmp_path: Path) -> None:
    broadcast = begun(tmp_path)
    broadcast.tasks(["alpha", "beta"])
    broadcast.has("alpha")
    broadcast.advance(version(tmp_path, 1), None)
    assert [(names, sent.kind) for names, sent, _ in broadcast.tasks(["beta", "alpha"])] == [
        (("alpha",), "values"),
        (("beta",), "whole"),
    ]


@pytest.mark.parametrize(("down", "left"), [("float32", 2), ("int8", 4)])
def test_no_more_lies_on_the_disk_than_one_version(tmp_path: Path, down: CodecName, left: int) -> None:
    broadcast = begun(tmp_path, down)
    for number in range(1, 5):
        broadcast.tasks(["alpha"])
        broadcast.has("alpha")
        broadcast.advance(version(tmp_path, number), None)
        broadcast.tasks(["alpha", "beta"])
        files = list((tmp_path / "sent").iterdir())
        assert len(files) <= left  # a step, the whole; where values are rounded, what the sites have and had before
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


@pytest.mark.parametrize("error_feedback", [True, False])
def test_training_goes_on_from_what_the_sites_have_only_where_rounding_is_not_made_up_for(
    tmp_path: Path, error_feedback: bool
) -> None:
    broadcast = begun(tmp_path, "int4", error_feedback=error_feedback)
    new = version(tmp_path, 1)
    following = broadcast.advance(new, None)
    assert following is (new if error_feedback else broadcast.known)


def test_a_file_that_could_not_be_written_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broadcast = begun(tmp_path)

    def full(*_: object, **_named: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(module.Encoder, "pieces", full)
        with pytest.raises(OSError, match="No space left"):
            broadcast.tasks(["alpha"])
    ((_, sent, path),) = broadcast.tasks(["alpha"])
    found = SiteWeights(LAYOUT, private_folder(tmp_path / "alpha")).take(sent, path).arrays()
    np.testing.assert_array_equal(found["b"], broadcast.known.arrays()["b"])


def test_weights_that_rounding_makes_infinite_are_not_sent(tmp_path: Path) -> None:
    largest = np.finfo(np.float32).max
    half = np.float32(1.6999e38)  # bfloat16 rounds it up, and twice that is no float32 any more
    broadcast = Broadcast(Compression(down="bfloat16"), private_folder(tmp_path / "sent"), JOB)
    values = [np.zeros(LAYOUT.size, np.float32), np.full(LAYOUT.size, half), np.full(LAYOUT.size, largest)]
    weights = [WeightsFile.write(tmp_path / f"weights-{n}", LAYOUT, [each]) for n, each in enumerate(values)]
    broadcast.begin(weights[0])
    broadcast.advance(weights[1], None)
    with pytest.raises(JobError, match="no longer finite"):
        broadcast.advance(weights[2], None)
