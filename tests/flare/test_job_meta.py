# SPDX-License-Identifier: Apache-2.0
"""What a site lets a server say of a job beside its app."""

from __future__ import annotations

from typing import Any

import pytest
from nvflare.apis.job_def import JobMetaKey

from cloister.errors import DeniedError
from cloister.flare.job_meta import _NOTES_OF_THE_SERVER, check_meta
from cloister.jobs import Job
from cloister.policies import Submitter
from tests.federation_folder import PERSON, SITES, make_federation
from tests.flare.signed_jobs import META, job_of

_JOB_ID = "0b5e1d6e-9f43-4a5e-8f5c-2f3f8a4d9c11"
_SUBMITTER = Submitter(PERSON, "institute", "data-scientist")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return job_of(make_federation(tmp_path_factory.mktemp("federation"))).value


def check(job: Job, sites: tuple[str, ...] = SITES, submitter: Submitter = _SUBMITTER, **changes: Any) -> None:
    check_meta({**META, **changes}, _JOB_ID, job, sites, submitter)


def test_what_follows_from_the_manifest_is_taken(job: Job) -> None:
    check(job)
    check(job, job_id=_JOB_ID)


@pytest.mark.parametrize("key", sorted(META.keys() - {"study"}))
@pytest.mark.parametrize("said", ["another", None, True, ["@ALL"], {"x": 1}, 7])
def test_each_word_of_it_must_be_there_and_be_the_manifests(job: Job, key: str, said: Any) -> None:
    with pytest.raises(DeniedError, match=f"the server says another `{key}`"):
        check(job, **{key: said})
    with pytest.raises(DeniedError, match=f"the server says another `{key}`"):
        check_meta({name: each for name, each in META.items() if name != key}, _JOB_ID, job, SITES, _SUBMITTER)


def test_another_manifest_or_signer_makes_the_same_words_wrong(job: Job) -> None:
    with pytest.raises(DeniedError, match="another `deploy_map`"):
        check(job, sites=("alpha", "beta"))
    with pytest.raises(DeniedError, match="another `submitter_org`"):
        check(job, submitter=Submitter(PERSON, "other-institute", "data-scientist"))


def test_every_key_of_nvflares_own_is_compared_or_a_note_or_must_be_empty(job: Job) -> None:
    """A key that a later version adds falls under the last."""
    for key in {each.value for each in JobMetaKey} - META.keys() - {"job_id"}:
        check(job, **{key: None})
        if key in _NOTES_OF_THE_SERVER:
            check(job, **{key: {"anything": 1}})
        else:
            with pytest.raises(DeniedError, match=f"the job's meta sets `{key}`"):
                check(job, **{key: {"anything": 1}})


def test_notes_are_keys_that_nvflare_has() -> None:
    assert {each.value for each in JobMetaKey} >= _NOTES_OF_THE_SERVER


@pytest.mark.parametrize("value", [0.5, "x" * 10_000, [1], {"a": {}}, True])
def test_an_unknown_key_with_a_value_is_refused(job: Job, value: Any) -> None:
    check(job, later="")
    with pytest.raises(DeniedError, match="the job's meta sets `later`"):
        check(job, later=value)


def test_a_long_key_is_cut(job: Job) -> None:
    with pytest.raises(DeniedError) as caught:
        check(job, **{"x" * 10_000: 1})
    assert len(str(caught.value)) < 400
