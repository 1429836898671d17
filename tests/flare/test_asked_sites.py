# SPDX-License-Identifier: Apache-2.0
"""Who is asked in a round."""

from __future__ import annotations

from collections import Counter

from cloister.flare.asked_sites import asked_sites

SITES = [f"site-{number}" for number in range(10)]


def test_everybody_is_asked_where_the_job_does_not_say() -> None:
    assert asked_sites(reversed(SITES), None, seed=1, number=1) == SITES
    assert asked_sites(SITES, 10, seed=1, number=1) == SITES
    assert asked_sites(SITES, 11, seed=1, number=1) == SITES


def test_the_same_seed_draws_the_same_sites_whatever_their_order() -> None:
    for number in range(1, 20):
        drawn = asked_sites(SITES, 3, seed=7, number=number)
        assert drawn == asked_sites(reversed(SITES), 3, seed=7, number=number)
        assert len(set(drawn)) == 3
        assert drawn == sorted(drawn)
    rounds = [tuple(asked_sites(SITES, 3, seed=seed, number=number)) for seed in (7, 8) for number in range(1, 20)]
    assert len(set(rounds)) > 25


def test_every_site_has_the_same_chance() -> None:
    turns = Counter(site for number in range(2000) for site in asked_sites(SITES, 3, seed=7, number=number))
    # 600 expected, standard deviation 20.5 (binomial, n = 2000, p = 0.3)
    assert all(abs(turns[site] - 600) < 100 for site in SITES), turns


def test_a_site_that_drops_out_changes_nobody_elses_turn() -> None:
    for number in range(1, 50):
        drawn = asked_sites(SITES, 3, seed=7, number=number)
        without = asked_sites([site for site in SITES if site != drawn[0]], 3, seed=7, number=number)
        assert set(drawn[1:]) <= set(without)
