# SPDX-License-Identifier: Apache-2.0
"""Which tensors a job exchanges."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloister.flare.agreed_layout import agreed_layout
from tests.federation_folder import make_federation
from tests.flare.signed_jobs import job_of
from tests.flare.test_round_weights import network

RANK = 2


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_federation(tmp_path_factory.mktemp("documents"))


def test_most_sites_decide_and_of_two_groups_the_first_site_does(documents: Path) -> None:
    job, (one, other) = job_of(documents).value, (network(2), network(3))
    assert dict(agreed_layout(job, {"a": other, "b": one, "c": one}).sites) == {"b": one, "c": one}
    assert agreed_layout(job, {"d": one, "a": other}).layout == other
    with pytest.raises(ValueError, match="no site"):
        agreed_layout(job, {})


def test_a_lower_rank_is_agreed_on_where_the_job_is_content_with_it(documents: Path) -> None:
    changes = {"method": {"lora": {"rank": 4, "minimum_rank": RANK}}, "aggregation": {"factors": "refactored"}}
    job = job_of(documents, **changes).value
    announced = {"a": network(2), "b": network(4), "c": network(3), "d": network(1), "e": network(5)}
    agreed = agreed_layout(job, announced)
    assert agreed.layout == network(4)
    assert set(agreed.sites) == {"a", "b", "c"}
    assert agreed.sites["a"] == network(2)


def test_a_lower_rank_is_another_layout_where_the_job_is_not_content_with_it(documents: Path) -> None:
    agreed = agreed_layout(job_of(documents).value, {"a": network(1), "b": network(2), "c": network(2)})
    assert set(agreed.sites) == {"b", "c"}
