# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from cloister.errors import CloisterError
from cloister.flare.quorum import check_enough
from cloister.flare.site_progress import SiteProgress
from cloister.simulation.reasons import grouped, in_groups
from tests.federation_folder import make_federation
from tests.flare.signed_jobs import job_of

MANY = [f"alpha-{number:03d}" for number in range(1, 201)]


def test_what_hinders_two_hundred_sites_alike_is_told_once_with_their_number_and_the_first_of_them() -> None:
    reasons = [(site, "denied: `purpose`: not granted (policies/alpha.yaml:12)") for site in reversed(MANY)]
    assert grouped(reasons) == [
        (
            "200 sites (alpha-001, alpha-002, alpha-003, …)",
            "denied: `purpose`: not granted (policies/alpha.yaml:12)",
        )
    ]


def test_few_sites_are_named_and_each_reason_stays_by_itself() -> None:
    reasons = [("beta", "no"), ("alpha", "yes"), ("gamma", "no"), ("delta", "no")]
    assert grouped(reasons) == [("alpha", "yes"), ("beta, delta, gamma", "no")]
    assert grouped([]) == []


def test_reasons_that_differ_in_their_numbers_alone_are_told_as_the_first_sites() -> None:
    said = "`update-norm`: the update's norm may be 1e-06, and is {} (policies/alpha.yaml:40)"
    reasons = [(site, said.format(0.125 + number)) for number, site in enumerate(MANY)]
    ((who, why),) = grouped(reasons)
    assert who == "200 sites (alpha-001, alpha-002, alpha-003, …)"
    assert why == f"{said.format(0.125)} [numbers of alpha-001]"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("denied: no (policies/alpha.yaml:12)", "denied: no (policies/alpha.yaml:13)"),
        ("denied: no (policies/alpha.yaml:12)", "denied: no (policies/beta.yaml:12)"),
        ("`column-1` is not granted", "`column-2` is not granted"),
        ("`1st` is not granted", "`2nd` is not granted"),
    ],
)
def test_another_line_file_or_name_is_another_reason(one: str, other: str) -> None:
    assert grouped([("alpha", one), ("beta", other)]) == [("alpha", one), ("beta", other)]


def test_what_the_servers_rounds_say_of_each_site_is_said_of_all_at_once(tmp_path: Path) -> None:
    """With the words that they really use: where those change, nothing would be grouped any more."""
    job = job_of(make_federation(tmp_path)).value
    sites = {name: SiteProgress(reason="the trainer failed") for name in MANY} | {"beta": SiteProgress(reason="none")}
    with pytest.raises(CloisterError) as caught:
        check_enough(job, sites, [], "gave an update in round 1")
    told = in_groups(str(caught.value), {name: site.reason for name, site in sites.items()})
    assert told == (
        "0 of 201 sites gave an update in round 1, and the job needs 2: "
        "200 sites (alpha-001, alpha-002, alpha-003, …): the trainer failed; beta: none"
    )


def test_an_error_that_says_nothing_of_single_sites_stays_as_it_is() -> None:
    assert in_groups("no site may tell `loss`", {}) == "no site may tell `loss`"
    assert in_groups("no site may tell `loss`", {"alpha": "none"}) == "no site may tell `loss`"
