# SPDX-License-Identifier: Apache-2.0
"""What may leave a site in a job, and what stays."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from cloister.egress import write_adapter
from cloister.errors import DeniedError, EgressError
from tests.flare.site_folder import make_site, open_job, prepare
from tests.flare.trainer_in_memory import TrainerInMemory, add_one
from tests.flare.wire_form import measured, trained


def test_an_update_that_may_not_leave_ends_no_more_than_its_round(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, _ = prepare(root)
    trainer.last.answer = lambda blob: b"junk"
    with pytest.raises(EgressError):
        trained(job)
    assert trainer.last.closed == 0
    trainer.last.answer = lambda blob: blob
    assert trained(job, 2)[0].round == 2


def test_only_metrics_of_the_policy_leave(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    chosen_by = {"select_by": {"metric": "loss", "mode": "minimum"}}
    root = make_site(tmp_path, policy={"may_leave": {"metrics": ["loss"]}}, job=chosen_by)
    job, _ = prepare(root)
    assert trained(job)[0].metrics == {"loss": 1.2}
    trained(job, 2)
    assert measured(job).metrics == {"loss": 1.2}


def test_an_update_above_the_policys_bytes_stays(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    job, _ = prepare(make_site(tmp_path, policy={"may_leave": {"maximum_bytes_per_round": 100}}))
    with pytest.raises(DeniedError, match=r"`update-size`: .* the 100 that may leave \(policies/alpha.yaml:\d+\)"):
        trained(job)


def test_all_rounds_together_stay_within_the_policys_bytes(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    reference, _ = prepare(make_site(tmp_path / "measured"))
    trained(reference)
    job, _ = prepare(
        make_site(tmp_path / "kept", policy={"may_leave": {"maximum_bytes_per_job": reference.egress.sent + 100}})
    )
    trained(job, 1)
    with pytest.raises(DeniedError, match="`update-size`: with this round"):
        trained(job, 2)
    assert job.egress.sent == reference.egress.sent  # what was refused has not left
    measured(job)


def test_an_update_that_is_too_long_stays(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    job, _ = prepare(make_site(tmp_path, policy={"may_leave": {"maximum_norm": 1.0}}))
    trainer.last.answer = add_one
    with pytest.raises(DeniedError, match=r"`update-norm`: the update's norm may be 1, and is larger "):
        trained(job)


def test_a_metric_beyond_the_policys_bounds_stays(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    bounds = {"metric_bounds": {"accuracy": {"maximum": 0.4}}}
    job, _ = prepare(make_site(tmp_path, policy={"may_leave": bounds}))
    with pytest.raises(DeniedError, match=r"`metrics`: metric `accuracy` is above its maximum, 0\.4"):
        trained(job)


def test_a_round_of_fewer_records_than_the_policy_demands_stays(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    job = open_job(make_site(tmp_path, policy={"training": {"minimum_records_per_round": 4}}))
    job.prepare()
    trainer.last.records = 3
    with pytest.raises(DeniedError, match="`round-records`: the round trained on fewer than 4 records"):
        trained(job)
    assert job.egress.sent == 0
    trainer.last.records = 4
    assert trained(job, 2)[0].records == 4
    assert measured(job).records == 0  # nothing is trained there, and only metrics leave


def test_a_waiver_lets_a_long_update_out_and_no_broken_one(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    waiver = {"rule": "update-norm", "reason": "first trial", "by": "the officer", "until": "2099-12-31"}
    policy = {"may_leave": {"maximum_norm": 0.001}, "waivers": [waiver]}
    job, _ = prepare(make_site(tmp_path, policy=policy))
    trainer.last.answer = add_one
    assert trained(job)[0].round == 1
    trainer.last.answer = not_finite
    with pytest.raises(EgressError, match="not finite"):
        trained(job, 2)


def not_finite(blob: bytes) -> bytes:
    (header,) = struct.unpack_from("<Q", blob)
    return blob[: 8 + header] + b"\xff" * (len(blob) - 8 - header)


@pytest.mark.parametrize("answer", [b"", b"junk", write_adapter({"x": np.zeros(1, np.float32)}), b"CLS1" + bytes(1000)])
def test_what_is_no_adapter_stays(root: Path, trainer: type[TrainerInMemory], answer: bytes) -> None:
    job, _ = prepare(root)
    trainer.last.answer = lambda blob: answer
    with pytest.raises(EgressError):
        trained(job)
