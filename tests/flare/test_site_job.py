# SPDX-License-Identifier: Apache-2.0
"""A job at a site, from its admission to its end, with a trainer that only adds one."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from cloister.audit import Log
from cloister.errors import AuditError, DeniedError, JobError, RecordsError, TrainerError
from cloister.flare import site_job, site_view
from cloister.flare.site_job import SiteJob
from cloister.jobs import AdapterLayout
from cloister.messages import Done, Evaluate
from cloister.sandbox import SandboxMode
from tests.federation_folder import LABELS, change_document, make_federation, records_of, write_records
from tests.flare.signed_jobs import job_of, officers_keys
from tests.flare.site_folder import NOW, admitted_job, app_of, make_site, open_job, prepare, view
from tests.flare.trainer_in_memory import TrainerInMemory, add_one
from tests.flare.wire_form import decoded, measured, tensors_of, trained, whole
from tests.signed_policies import revoke_policy


def test_a_site_announces_its_view_its_policy_and_its_tensors(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, prepared = prepare(root)
    assert prepared.training + prepared.validation == 24
    assert prepared.policy == job.site.policies.digest
    assert prepared.sandbox == "bubblewrap"
    assert AdapterLayout.from_json(prepared.layout) == tensors_of(job)
    assert view(job).stat().st_mode & 0o777 == 0o700


def test_the_trainer_gets_view_and_base_model_and_is_kept_from_state_and_workspace(
    root: Path, trainer: type[TrainerInMemory]
) -> None:
    job, _ = prepare(root)
    enclosure = trainer.last.enclosure
    assert enclosure.view == view(job)
    assert enclosure.base_model == root / "models" / "tiny"
    assert set(enclosure.protected) == {root / ".cloister", root / ".cloister" / "sites" / "alpha"}
    assert trainer.last.mode is SandboxMode.BUBBLEWRAP


def test_the_view_is_gone_after_the_close(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, _ = prepare(root)
    job.close()
    job.close()
    assert not view(job).exists()
    assert trainer.last.closed == 2


def test_no_trainer_is_started_after_a_close(
    root: Path, trainer: type[TrainerInMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is aborted while its view is being written: nothing may be left running, nothing lying about."""
    job = open_job(root)
    write = site_view.write_view

    def aborted_meanwhile(*arguments: Any, **named: Any) -> Any:
        manifest = write(*arguments, **named)
        job.close()
        return write(*arguments, **named) if not named["folder"].exists() else manifest

    monkeypatch.setattr(site_view, "write_view", aborted_meanwhile)
    monkeypatch.setattr(site_job, "Trainer", lambda *arguments, **named: pytest.fail("a trainer was made"))
    with pytest.raises(JobError, match="stopped"):
        job.prepare()
    assert not view(job).exists()


def test_a_wrong_base_model_is_refused_before_any_record_is_read(root: Path, trainer: type[TrainerInMemory]) -> None:
    job = open_job(root)
    with (root / "models" / "tiny" / "model.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x01")
    (root / "records" / "alpha.csv").unlink()
    with pytest.raises(DeniedError, match="base model `all-minilm-l6-v2` at this site has sha256"):
        job.prepare()
    assert not view(job).exists()


def test_a_base_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    elsewhere = make_site(tmp_path / "a", silo={"base_models": {"all-minilm-l6-v2": {"path": "models/none"}}})
    with pytest.raises(RecordsError, match="does not lie where the silo document says"):
        open_job(elsewhere)
    without = make_site(tmp_path / "b")
    change_document(without, "silos/alpha.yaml", {"base_models": {"all-minilm-l6-v2": None, "other": {"path": "x"}}})
    with pytest.raises(RecordsError, match="is not in the site's silo document"):
        open_job(without)


@pytest.mark.parametrize("name", ["policies/alpha.yaml", "policies/baseline.yaml", "silos/alpha.yaml"])
def test_a_job_goes_on_under_the_documents_that_admitted_it(
    root: Path, trainer: type[TrainerInMemory], name: str
) -> None:
    settings, identifier, app = admitted_job(root)
    (root / name).unlink()
    job = SiteJob.open(settings, identifier, app, settings.workspace / "private", lambda: NOW)
    assert job.prepare().policy == job.admitted.site.policies.digest


def test_a_revoked_policy_stops_a_job_before_it_starts(root: Path) -> None:
    settings, identifier, app = admitted_job(root)
    revoke_policy(root, "alpha", keys=officers_keys(), reason="a complaint")
    with pytest.raises(DeniedError, match=r"version 1 of the policy of `alpha` was revoked by .*: a complaint"):
        SiteJob.open(settings, identifier, app, settings.workspace / "private", lambda: NOW)


def test_a_preparation_that_fails_at_its_end_leaves_nothing(
    root: Path, trainer: type[TrainerInMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(self: TrainerInMemory, timeout_seconds: float) -> None:
        raise TrainerError("the trainer did not get ready")

    monkeypatch.setattr(TrainerInMemory, "start", stumble)
    job = open_job(root)
    with pytest.raises(TrainerError):
        job.prepare()
    assert trainer.last.closed == 1
    assert not view(job).exists()


def test_a_revocation_that_cannot_be_verified_stops_a_job(root: Path) -> None:
    settings, identifier, app = admitted_job(root)
    (root / "policies" / "revoked").mkdir()
    (root / "policies" / "revoked" / "alpha-v7.json").write_text("{}")
    with pytest.raises(DeniedError, match="counts as revoked"):
        SiteJob.open(settings, identifier, app, settings.workspace / "private", lambda: NOW)


def test_a_document_changed_after_admission_is_refused(root: Path) -> None:
    settings, identifier, _ = admitted_job(root)
    changed = job_of(root, training={"seed": 8})
    with pytest.raises(DeniedError, match="not the one that was admitted"):
        SiteJob.open(settings, identifier, app_of(changed), settings.workspace / "private", lambda: NOW)


def test_a_comment_changed_after_admission_is_refused_too(root: Path) -> None:
    settings, identifier, app = admitted_job(root)
    path = root / "jobs" / "tiny-triage.yaml"
    path.write_bytes(app.job.text + b"# a comment\n")
    with pytest.raises(DeniedError, match="not the one that was admitted"):
        SiteJob.open(settings, identifier, app_of(job_of(root)), settings.workspace / "private", lambda: NOW)


def test_a_job_that_was_never_admitted_is_refused(root: Path) -> None:
    settings, _, app = admitted_job(root)
    with pytest.raises(JobError, match="no record of having admitted"):
        SiteJob.open(settings, "another", app, settings.workspace / "private", lambda: NOW)


@pytest.mark.parametrize(
    ("admitted", "now", "mode"),
    [
        (SandboxMode.UNSAFE_NONE, "unsafe-none", SandboxMode.UNSAFE_NONE),
        (SandboxMode.UNSAFE_NONE, "required", SandboxMode.BUBBLEWRAP),
        (SandboxMode.BUBBLEWRAP, "unsafe-none", SandboxMode.BUBBLEWRAP),
        (SandboxMode.BUBBLEWRAP, "required", SandboxMode.BUBBLEWRAP),
    ],
)
def test_a_policy_tightened_since_admission_gets_its_sandbox(
    tmp_path: Path, trainer: type[TrainerInMemory], admitted: SandboxMode, now: str, mode: SandboxMode
) -> None:
    root = make_site(tmp_path, policy={"sandbox": now}, baseline={"sandbox": None})
    job = open_job(root, sandbox=admitted)
    assert job.prepare().sandbox == mode.value
    assert trainer.last.mode is mode


def test_an_update_is_what_the_trainer_added(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, _ = prepare(root)

    trainer.last.answer = add_one
    update, tensors = trained(job)
    assert (update.round, update.records, update.restarts) == (1, 4, 0)
    assert update.metrics == {"accuracy": 0.5, "loss": 1.2, "train_loss": 1.5}
    for value in decoded(tensors, tensors_of(job)).values():
        np.testing.assert_allclose(value, 1.0, rtol=1e-6)


def test_of_an_update_that_passed_the_gate_and_stayed_nothing_is_counted_as_sent(
    tmp_path: Path, trainer: type[TrainerInMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head of the log goes with an update: where it cannot be read, the update stays, with what rounding took."""
    kept = {"compression": {"up": "int4"}, "aggregation": {"personal": ["classifier"]}}
    job, _ = prepare(make_site(tmp_path, job=kept))
    trainer.last.answer = add_one
    assert job.exchange is not None
    before, first = job.exchange.encoder, job.exchange.personal()

    def unreadable(_log: Log) -> str:
        raise AuditError("the log's end cannot be read")

    monkeypatch.setattr(Log, "head", unreadable)
    with pytest.raises(AuditError):
        trained(job)
    assert job.exchange.encoder is not before
    for name, values in job.exchange.personal().items():
        np.testing.assert_array_equal(values, first[name])


def test_a_trainer_that_dies_again_and_again_is_asked_no_more(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, _ = prepare(root)
    trainer.last.restarts = 2
    assert trained(job)[0].restarts == 2
    trainer.last.restarts = 3
    asked: list[bytes] = []
    trainer.last.answer = lambda blob: asked.append(blob) or blob  # type: ignore[func-returns-value]
    with pytest.raises(JobError, match="died 3 times in this job"):
        trained(job, 2)
    with pytest.raises(JobError, match="died 3 times in this job"):
        measured(job)
    assert asked == []


def test_the_server_is_told_what_the_policies_demand_of_a_result(
    tmp_path: Path, trainer: type[TrainerInMemory]
) -> None:
    policy, baseline = {"release": {"minimum_sites": 2}}, {"release": {"minimum_records": 50}}
    _, prepared = prepare(make_site(tmp_path, policy=policy, baseline=baseline))
    assert (prepared.release_minimum_sites, prepared.release_minimum_records) == (2, 50)


@pytest.mark.parametrize("numbers", [[0], [3], [1, 1], [2, 1], [1, 2, 2], [10**9]])
def test_rounds_beyond_the_jobs_and_rounds_again_are_refused(
    root: Path, trainer: type[TrainerInMemory], numbers: list[int]
) -> None:
    job, _ = prepare(root)
    for number in numbers[:-1]:
        trained(job, number)
    with pytest.raises(DeniedError, match=f"asks for round {numbers[-1]} out of turn"):
        trained(job, numbers[-1])


def test_a_round_that_was_missed_does_no_harm(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, _ = prepare(root)
    assert trained(job, 2)[0].round == 2


def test_the_adapter_is_measured_once_and_at_the_end(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, _ = prepare(root)
    for number in (0, 1, 2, 4):
        with pytest.raises(DeniedError, match="out of turn"):
            measured(job, number)
    assert measured(job).round == 3
    with pytest.raises(DeniedError, match="out of turn"):
        measured(job)
    with pytest.raises(DeniedError, match="out of turn"):
        trained(job, 1)


def test_a_round_before_the_site_is_ready_is_refused(root: Path) -> None:
    job = open_job(root)
    with pytest.raises(JobError, match="before the site was ready"):
        job.train(whole(1), b"")
    with pytest.raises(JobError, match="before the site was ready"):
        job.evaluate(whole(3), b"")


def test_what_a_trainer_says_of_records_where_it_only_measured_stays(
    root: Path, trainer: type[TrainerInMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = prepare(root)
    monkeypatch.setattr(trainer.last, "ask_in_files", lambda *_: Done(metrics={"accuracy": 0.5}, records=13))
    assert measured(job).records == 0


def test_what_is_personal_is_kept_at_the_site_and_never_leaves(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    job, prepared = prepare(make_site(tmp_path, job={"aggregation": {"personal": ["classifier"]}}))
    trainer.last.answer = add_one
    _, tensors = trained(job)
    assert prepared.layout is not None
    assert not any("classifier" in name for name, *_ in prepared.layout["tensors"])
    measured(job)
    (kept,) = (job.settings.workspace / "personal").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    found = safetensors.numpy.load_file(kept)
    assert {name.split(".")[-2] for name in found} == {"classifier"}
    assert found["base_model.model.classifier.bias"].tolist() == [1.0] * len(LABELS)
    assert found["base_model.model.classifier.weight"].tobytes() not in tensors


@pytest.mark.slow
def test_the_real_trainer_trains_in_the_real_sandbox(tmp_path: Path) -> None:
    job = open_job(make_federation(tmp_path / "federation").resolve())
    try:
        prepared = job.prepare()
        assert prepared.sandbox == "bubblewrap"
        update, tensors = trained(job)
        assert update.restarts == 0
        assert 1 <= update.records <= prepared.training
        assert set(update.metrics) == {"accuracy", "macro_f1", "loss", "train_loss"}
        changes = decoded(tensors, tensors_of(job))
        assert max(np.abs(change).max() for change in changes.values()) > 1e-4
        assert measured(job).metrics == pytest.approx(
            {k: v for k, v in update.metrics.items() if k != "train_loss"}, abs=1e-5
        )
    finally:
        job.close()
    assert not view(job).exists()
    with pytest.raises(TrainerError):
        job.trainer.ask(Evaluate(), b"")


@pytest.mark.slow
def test_a_class_that_no_record_has_does_not_stop_the_real_trainer(tmp_path: Path) -> None:
    root = make_federation(tmp_path / "federation").resolve()
    write_records(root / "records" / "alpha.csv", [(text, LABELS[0]) for text, _ in records_of("alpha")])
    job = open_job(root)
    try:
        job.prepare()
        update, _ = trained(job)
        assert 0 <= update.metrics["accuracy"] <= 1
    finally:
        job.close()


def test_the_helper_writes_records_as_the_silo_declares_them(root: Path) -> None:
    with (root / "records" / "alpha.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(itertools.islice(csv.DictReader(stream), 2))
    assert [set(row) for row in rows] == [{"patient_id", "note", "triage"}] * 2
