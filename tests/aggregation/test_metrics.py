# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import pytest

from cloister.aggregation import mean_of_metrics, median_of_metrics


def test_metrics_are_weighted_by_the_records_of_the_sites_that_told_them() -> None:
    measured = {
        "alpha": ({"accuracy": 0.5, "loss": 1.0}, 10),
        "beta": ({"accuracy": 1.0}, 30),
        "gamma": ({"accuracy": 0.0, "loss": 9.0}, 0),  # measured on nothing, so it says nothing
    }
    assert mean_of_metrics(measured) == {"accuracy": pytest.approx(0.875), "loss": 1.0}
    assert mean_of_metrics({}) == {}
    assert mean_of_metrics({"gamma": ({"accuracy": 0.0}, 0)}) == {}


def test_which_site_came_first_does_not_show_in_the_last_bit() -> None:
    measured = {f"site-{number}": ({"loss": 0.1 * number + 1e-17}, 3 + number) for number in range(4)}
    found = {
        mean_of_metrics({site: measured[site] for site in order})["loss"] for order in itertools.permutations(measured)
    }
    assert len(found) == 1


def test_the_median_counts_every_site_alike_that_measured_on_anything() -> None:
    measured = {
        "alpha": ({"accuracy": 0.5, "loss": 1.0}, 10),
        "beta": ({"accuracy": 0.6}, 30),
        "delta": ({"accuracy": 1.0, "loss": 3.0}, 1 << 53),
        "gamma": ({"accuracy": 0.0, "loss": 9.0}, 0),
    }
    assert median_of_metrics(measured) == {"accuracy": 0.6, "loss": 2.0}
    assert median_of_metrics(dict(reversed(measured.items()))) == median_of_metrics(measured)
    assert median_of_metrics({}) == {}
    assert median_of_metrics({"gamma": ({"accuracy": 0.0}, 0)}) == {}
