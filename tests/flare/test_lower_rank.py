# SPDX-License-Identifier: Apache-2.0
"""What sites of a lower rank are sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cloister.files import private_folder
from cloister.flare.lower_rank import LowerRank, rank_of, received_of
from cloister.flare.site_weights import SiteWeights
from cloister.jobs import AdapterLayout, TensorSpec
from cloister.weights_file import WeightsFile

A, B = "x.lora_A.weight", "x.lora_B.weight"


def layout(rank: int) -> AdapterLayout:
    return AdapterLayout(
        (
            TensorSpec("head.bias", (3,), "zeros"),
            TensorSpec(A, (rank, 6), "uniform"),
            TensorSpec(B, (5, rank), "zeros"),
        ),
        (),
    )


@pytest.fixture
def known(tmp_path: Path) -> WeightsFile:
    drawn = np.random.default_rng(1).normal(size=layout(4).size).astype(np.float32)
    return WeightsFile.write(tmp_path / "weights.safetensors", layout(4), [drawn])


def test_the_rank_is_that_of_the_factors() -> None:
    assert [rank_of(layout(rank)) for rank in (1, 4)] == [1, 4]
    assert rank_of(AdapterLayout((TensorSpec("head.bias", (3,), "zeros"),), ())) == 0


def test_each_rank_is_written_once_and_sent_whole(tmp_path: Path, known: WeightsFile) -> None:
    lower = LowerRank(private_folder(tmp_path / "sent"))
    sites = {"gamma": layout(1), "beta": layout(2), "alpha": layout(2)}
    tasks = lower.tasks(known, 3, sites)
    assert [(names, sent.version, sent.kind, sent.base) for names, sent, _ in tasks] == [
        (("gamma",), 3, "whole", None),
        (("alpha", "beta"), 3, "whole", None),
    ]
    for names, sent, path in tasks:
        own = sites[names[0]]
        folder = private_folder(tmp_path / names[0])
        found, expected = SiteWeights(own, folder).take(sent, path).arrays(), received_of(known.arrays(), own)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
    assert len(list((tmp_path / "sent").iterdir())) == 2
    assert lower.tasks(known, 4, {}) == []


def test_a_later_round_leaves_alone_what_is_being_read(tmp_path: Path, known: WeightsFile) -> None:
    lower = LowerRank(private_folder(tmp_path / "sent"))
    ((_, _, path),) = lower.tasks(known, 1, {"alpha": layout(2)})
    before = path.read_bytes()
    with path.open("rb") as stream:  # as it is while a site fetches it
        other = known.changed(tmp_path / "next.safetensors", layout(4), lambda _, values: values * 2)
        lower.tasks(other, 2, {"alpha": layout(2)})
        assert stream.read() == before
    assert path.read_bytes() != before


def test_a_site_of_the_jobs_rank_has_the_weights_themselves(known: WeightsFile) -> None:
    here = known.arrays()
    assert received_of(here, layout(4)) is here


def test_of_a_lower_rank_the_largest_directions_are_kept_and_the_rest_is_as_it_was(known: WeightsFile) -> None:
    here, found = known.arrays(), received_of(known.arrays(), layout(2))
    np.testing.assert_array_equal(found["head.bias"], here["head.bias"])
    left, values, right = np.linalg.svd(here[B].astype(np.float64) @ here[A], full_matrices=False)
    np.testing.assert_allclose(found[B] @ found[A], (left[:, :2] * values[:2]) @ right[:2], rtol=1e-4, atol=1e-5)
