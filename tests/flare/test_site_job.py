# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import importlib
import itertools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from pyarrow import parquet

from cloister.audit import Kind, entries
from cloister.egress import write_adapter
from cloister.errors import CloisterError, DeniedError, EgressError, JobError, RecordsError, TrainerError
from cloister.files import canonical_json, sha256_of
from cloister.flare import site_job, standing
from cloister.flare.exchange import Prepared
from cloister.flare.site_job import SiteJob
from cloister.jobs import AdapterLayout
from cloister.messages import Done, Evaluate, Setup, Train
from cloister.policies import Rule
from cloister.records.view.split import held_back
from cloister.sandbox import Enclosure, SandboxMode
from tests.federation_folder import LABELS, SPLIT_KEY, change_document, make_federation, records_of, write_records
from tests.flare.signed_jobs import job_of, officers_keys
from tests.flare.site_folder import NOW, admitted_job, app_of, make_site, open_job
from tests.flare.wire_form import decoded, measured, tensors_of, trained, whole
from tests.signed_policies import revoke_policy


class TrainerInMemory:
    """Stands where the sandboxed process stands: adds one to every value, and says what it was told to say."""

    def __init__(self, enclosure: Enclosure, setup: Setup, *, mode: SandboxMode, maximum_blob_bytes: int) -> None:
        self.enclosure, self.setup, self.mode = enclosure, setup, mode
        self.restarts = 0
        self.closed = 0
        self.records = 4
        self.metrics: dict[str, float] = {"accuracy": 0.5, "loss": 1.2, "names": 7.0}
        self.answer: Callable[[bytes], bytes] = lambda blob: blob
        TrainerInMemory.last = self

    last: TrainerInMemory

    def start(self, timeout_seconds: float) -> None:
        assert (self.enclosure.view / "train.parquet").is_file()

    def ask(self, message: Train | Evaluate, blob: bytes, timeout_seconds: float) -> tuple[Done, bytes]:
        if isinstance(message, Evaluate):
            return Done(metrics=self.metrics, records=0), b""
        return Done(metrics={**self.metrics, "train_loss": 1.5}, records=self.records), self.answer(blob)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> type[TrainerInMemory]:
    monkeypatch.setattr(site_job, "Trainer", TrainerInMemory)
    return TrainerInMemory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_site(tmp_path / "federation").resolve()


def view(job: SiteJob) -> Path:
    return job.private / "view"


def prepare(root: Path) -> tuple[SiteJob, Prepared]:
    job = open_job(root)
    return job, job.prepare()


# --- preparing


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


def test_the_view_holds_two_columns_and_no_identifier(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, _ = prepare(root)
    for name in ("train.parquet", "validation.parquet"):
        assert parquet.read_table(view(job) / name).column_names == ["note", "triage"]


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
    write = site_job.write_view

    def aborted_meanwhile(*arguments: Any, **named: Any) -> Any:
        manifest = write(*arguments, **named)
        job.close()
        return write(*arguments, **named) if not named["folder"].exists() else manifest

    monkeypatch.setattr(site_job, "write_view", aborted_meanwhile)
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


# --- the policy, asked again


@pytest.mark.parametrize(
    ("name", "changes", "rule"),
    [
        ("policies/alpha.yaml", {"purposes": ["service-improvement"]}, "`purpose`"),
        ("policies/alpha.yaml", {"valid_until": "2026-02-01"}, "`validity`"),
        ("policies/baseline.yaml", {"purposes": ["service-improvement"]}, "`purpose`"),
        ("policies/alpha.yaml", {"datasets": {"clinical-notes": {"columns": ["triage"]}}}, "`columns`"),
        ("policies/alpha.yaml", {"datasets": {"clinical-notes": {"minimum_records": 25}}}, "`records`"),
        ("policies/alpha.yaml", {"submitters": {"people": ["olga@research.example"]}}, "`submitter`"),
    ],
)
def test_the_policy_is_asked_again_and_a_denial_leaves_no_view(
    root: Path, trainer: type[TrainerInMemory], name: str, changes: dict[str, Any], rule: str
) -> None:
    change_document(root, name, changes)
    settings, identifier, app = admitted_job(root)
    job = SiteJob.open(settings, identifier, app, settings.workspace / "private", lambda: NOW)
    with pytest.raises(DeniedError, match=rule):
        job.prepare()
    assert not view(job).exists()
    assert not list(job.private.rglob("*.parquet"))


def test_fewer_records_than_the_policy_demands_are_counted_exactly(
    tmp_path: Path, trainer: type[TrainerInMemory]
) -> None:
    """Those kept for validation do not count; a job chooses how many they are."""
    training = open_job(make_site(tmp_path / "any")).prepare().training
    assert training < len(records_of("alpha"))
    exactly = {"datasets": {"clinical-notes": {"minimum_records": training}}}
    assert open_job(make_site(tmp_path / "enough", policy=exactly)).prepare().training == training
    more = {"datasets": {"clinical-notes": {"minimum_records": training + 1}}}
    few = open_job(make_site(tmp_path / "few", policy=more))
    with pytest.raises(DeniedError, match="`records`"):
        few.prepare()
    assert not view(few).exists()


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


@pytest.mark.parametrize("name", ["alpha", "baseline"])
def test_a_policy_revoked_meanwhile_stops_the_view(root: Path, trainer: type[TrainerInMemory], name: str) -> None:
    job = open_job(root)
    revoke_policy(root, name, keys=officers_keys())
    with pytest.raises(DeniedError, match="was revoked"):
        job.prepare()
    assert not view(job).exists()


def revoked_while(monkeypatch: pytest.MonkeyPatch, root: Path, name: str) -> None:
    """The officer takes the policy back while the function ``name`` of the job's module does its work."""
    does = getattr(site_job, name)

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        done = does(*arguments, **named)
        revoke_policy(root, "alpha", keys=officers_keys())
        return done

    monkeypatch.setattr(site_job, name, meanwhile)


def test_a_policy_revoked_while_the_view_is_written_leaves_no_view_and_no_trainer(
    root: Path, trainer: type[TrainerInMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = open_job(root)
    revoked_while(monkeypatch, root, "write_view")
    monkeypatch.setattr(site_job, "Trainer", lambda *arguments, **named: pytest.fail("a trainer was made"))
    with pytest.raises(DeniedError, match="was revoked"):
        job.prepare()
    assert not view(job).exists()
    assert not list(job.private.rglob("*.parquet"))


@pytest.mark.parametrize("gate", ["train", "evaluate", "release"])
def test_a_policy_revoked_meanwhile_stops_the_trainer_and_removes_the_view(
    root: Path, trainer: type[TrainerInMemory], gate: str
) -> None:
    job, _ = prepare(root)
    assert view(job).exists()
    revoke_policy(root, "alpha", keys=officers_keys())
    gates = {
        "train": lambda: trained(job),
        "evaluate": lambda: measured(job),
        "release": lambda: job._release({}, None, None, 1),
    }
    with pytest.raises(DeniedError, match="was revoked"):
        gates[gate]()
    assert trainer.last.closed == 1
    assert not view(job).exists()
    for other in gates.values():
        with pytest.raises(DeniedError, match="was revoked"):
            other()
    assert job._sent == 0


def test_a_policy_revoked_while_a_round_is_trained_stops_its_update_and_the_trainer(
    root: Path, trainer: type[TrainerInMemory]
) -> None:
    job, _ = prepare(root)

    def revoked(blob: bytes) -> bytes:
        revoke_policy(root, "baseline", keys=officers_keys())
        return blob

    trainer.last.answer = revoked
    with pytest.raises(DeniedError, match="was revoked"):
        trained(job)
    assert trainer.last.closed == 1
    assert not view(job).exists()
    assert job._sent == 0


def test_an_update_that_may_not_leave_ends_no_more_than_its_round(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, _ = prepare(root)
    trainer.last.answer = lambda blob: b"junk"
    with pytest.raises(EgressError):
        trained(job)
    assert trainer.last.closed == 0
    trainer.last.answer = lambda blob: blob
    assert trained(job, 2)[0].round == 2


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


def test_a_check_of_revocations_that_throws_stops_a_job(
    root: Path, trainer: type[TrainerInMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = open_job(root)
    job.prepare()

    def stumble(*arguments: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(standing, "check_not_revoked", stumble)
    for gate in (lambda: trained(job), lambda: measured(job), lambda: job._release({}, None, None, 1)):
        with pytest.raises(RuntimeError):  # the executor makes a refusal of it; nothing was asked, nothing leaves
            gate()
    assert job._sent == 0
    assert trainer.last.closed
    assert not view(job).exists()


def test_no_record_is_read_where_a_rule_denies(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_document(root, "policies/alpha.yaml", {"purposes": ["service-improvement"]})
    settings, identifier, app = admitted_job(root)
    job = SiteJob.open(settings, identifier, app, settings.workspace / "private", lambda: NOW)
    monkeypatch.setattr(site_job, "write_view", lambda *arguments, **named: pytest.fail("the records were read"))
    with pytest.raises(DeniedError):
        job.prepare()


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


# --- records


def records(root: Path, rows: list[tuple[str, str]]) -> None:
    write_records(root / "records" / "alpha.csv", rows)


def test_an_empty_site_takes_no_part(root: Path, trainer: type[TrainerInMemory]) -> None:
    records(root, [])
    job = open_job(root)
    with pytest.raises(RecordsError, match="is empty"):
        job.prepare()
    assert not view(job).exists()


def test_a_site_with_one_class_takes_part(root: Path, trainer: type[TrainerInMemory]) -> None:
    records(root, [(text, "urgent") for text, _ in records_of("alpha")])
    _, prepared = prepare(root)
    assert prepared.training + prepared.validation == 24


def test_an_empty_note_is_left_out_and_too_many_end_it(root: Path, trainer: type[TrainerInMemory]) -> None:
    rows = records_of("alpha")
    records(root, [("   ", "soon"), *rows])
    job, prepared = prepare(root)
    assert prepared.training + prepared.validation == 24
    job.close()
    records(root, [("", "soon"), (" ", "soon"), *rows])
    with pytest.raises(RecordsError, match="2 of 26 rows"):
        open_job(root).prepare()


def test_a_note_of_any_length_is_cut(root: Path, trainer: type[TrainerInMemory]) -> None:
    records(root, [("x" * 100_000, "soon"), *records_of("alpha")])
    job, _ = prepare(root)
    texts = [
        text
        for name in ("train.parquet", "validation.parquet")
        for text in parquet.read_table(view(job) / name)["note"].to_pylist()
    ]
    assert max(len(text) for text in texts) == 2000
    assert len(texts) == 25


def test_text_that_is_not_utf_8_is_refused_and_not_repeated(root: Path, trainer: type[TrainerInMemory]) -> None:
    path = root / "records" / "alpha.csv"
    path.write_bytes(path.read_bytes() + "P99999,Übelkeit bei Ada Lovelace,soon\r\n".encode("latin-1"))
    job = open_job(root)
    with pytest.raises(RecordsError) as caught:
        job.prepare()
    assert "Lovelace" not in str(caught.value)
    assert not view(job).exists()
    assert not list(job.private.rglob("*.parquet"))


def test_a_column_that_the_records_lack_is_refused(root: Path, trainer: type[TrainerInMemory]) -> None:
    path = root / "records" / "alpha.csv"
    path.write_text(path.read_text().replace("patient_id,note,triage", "patient_id,notes,triage"))
    with pytest.raises(RecordsError):
        open_job(root).prepare()


def test_a_column_that_the_silo_does_not_declare_is_refused(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    grants = {"datasets": {"clinical-notes": {"columns": ["letter", "triage"]}}}
    job = open_job(make_site(tmp_path, job={"dataset": {"text": "letter"}}, policy=grants))
    with pytest.raises(CloisterError):
        job.prepare()
    assert not view(job).exists()


def test_records_that_are_not_there_are_refused(root: Path, trainer: type[TrainerInMemory]) -> None:
    (root / "records" / "alpha.csv").unlink()
    with pytest.raises(RecordsError):
        open_job(root).prepare()


# --- rounds


def add_one(blob: bytes) -> bytes:
    return write_adapter({name: value + 1 for name, value in safetensors.numpy.load(blob).items()})


def test_an_update_is_what_the_trainer_added(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, _ = prepare(root)

    trainer.last.answer = add_one
    update, tensors = trained(job)
    assert (update.round, update.records, update.restarts) == (1, 4, 0)
    assert update.metrics == {"accuracy": 0.5, "loss": 1.2, "train_loss": 1.5}
    for value in decoded(tensors, tensors_of(job)).values():
        np.testing.assert_allclose(value, 1.0, rtol=1e-6)


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
        make_site(tmp_path / "kept", policy={"may_leave": {"maximum_bytes_per_job": reference._sent + 100}})
    )
    trained(job, 1)
    with pytest.raises(DeniedError, match="`update-size`: with this round"):
        trained(job, 2)
    assert job._sent == reference._sent  # what was refused has not left
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


def test_rows_that_the_policy_filters_out_are_not_trained_on(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    rows = {"datasets": {"clinical-notes": {"rows": {"triage": ["soon", "urgent"]}, "minimum_records": 5}}}
    job, prepared = prepare(make_site(tmp_path, policy=rows))
    assert prepared.training + prepared.validation == 12
    kept = {each for name in ("train", "validation") for each in labels_in(view(job) / f"{name}.parquet")}
    assert kept == {"soon", "urgent"}


def labels_in(path: Path) -> list[str]:
    return list(parquet.read_table(path).column("triage").to_pylist())


def test_a_class_of_few_records_stops_the_job_and_its_view_is_gone(
    tmp_path: Path, trainer: type[TrainerInMemory]
) -> None:
    job = open_job(make_site(tmp_path, policy={"datasets": {"clinical-notes": {"minimum_per_class": 6}}}))
    with pytest.raises(DeniedError, match="`classes`: class `"):
        job.prepare()
    assert not view(job).exists()


def test_a_class_that_lies_in_validation_as_a_whole_stops_the_job(
    tmp_path: Path, trainer: type[TrainerInMemory]
) -> None:
    """With this key the one note of its class is kept for validation, and nothing of the class is trained on."""
    records = [(note, "routine") for note, _ in records_of("alpha")]
    rare = next(text for text in map(str, range(1000)) if held_back(SPLIT_KEY, text, 7, 0.25))
    policy = {"datasets": {"clinical-notes": {"minimum_per_class": 2}}}
    job = open_job(make_site(tmp_path, records=[*records, (rare, "urgent")], policy=policy))
    with pytest.raises(DeniedError, match="class `urgent` has fewer than 2 records in the view, all of them kept"):
        job.prepare()
    assert not view(job).exists()


@pytest.mark.parametrize(("least", "allowed"), [(6, True), (7, False), (None, False)])
def test_metrics_of_a_handful_of_records_never_come_to_be(
    tmp_path: Path, trainer: type[TrainerInMemory], least: int | None, allowed: bool
) -> None:
    root = make_site(tmp_path, policy={"datasets": {"clinical-notes": {"minimum_validation_records": least}}})
    job = open_job(root)
    if allowed:
        assert job.prepare().validation == 6
        return
    with pytest.raises(DeniedError, match=f"`records`: the view keeps fewer than {least or 10} records for validation"):
        job.prepare()
    assert not view(job).exists()


def test_the_split_is_made_with_the_sites_own_key(root: Path, trainer: type[TrainerInMemory]) -> None:
    job = open_job(root)
    (job.settings.workspace / "split.key").unlink()
    job.prepare()
    key = (job.settings.workspace / "split.key").read_bytes()
    kept = set(parquet.read_table(view(job) / "validation.parquet").column("note").to_pylist())
    assert kept == {note for note, _ in records_of("alpha") if held_back(key, note, 7, 0.25)}


def test_no_record_is_read_where_the_sites_key_is_none(root: Path, trainer: type[TrainerInMemory]) -> None:
    job = open_job(root)
    (job.settings.workspace / "split.key").write_bytes(b"short")
    with pytest.raises(RecordsError, match="is not a key of 32 bytes"):
        job.prepare()
    assert not view(job).exists()


def test_a_round_of_fewer_records_than_the_policy_demands_stays(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    job = open_job(make_site(tmp_path, policy={"training": {"minimum_records_per_round": 4}}))
    job.prepare()
    trainer.last.records = 3
    with pytest.raises(DeniedError, match="`round-records`: the round trained on fewer than 4 records"):
        trained(job)
    assert job._sent == 0
    trainer.last.records = 4
    assert trained(job, 2)[0].records == 4
    assert measured(job).records == 0  # nothing is trained there, and only metrics leave


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


ODD_LABELS = ("routine\u00a0case", *(f"{number:04d} {'x' * 95}" for number in range(799)))


def test_a_job_with_many_and_odd_labels_is_recorded_and_runs(tmp_path: Path, trainer: type[TrainerInMemory]) -> None:
    records = [(note, ODD_LABELS[0]) for note, _ in records_of("alpha")]
    columns = {"triage": {"kind": "category", "values": list(ODD_LABELS)}}
    root = make_site(
        tmp_path,
        records=records,
        silo={"datasets": {"clinical-notes": {"columns": columns}}},
        job={"dataset": {"labels": list(ODD_LABELS)}},
    )
    job = open_job(root)
    prepared = job.prepare()
    (recorded,) = [entry.event for entry in entries(job.log.path) if entry.event.kind is Kind.VIEW]
    assert recorded.facts["labels"][:2] == ("routine case", ODD_LABELS[1])
    assert recorded.facts["classes"] == (18, *[0] * 49)
    counts = {label: {"training": 0, "validation": 0} for label in ODD_LABELS}
    counts[ODD_LABELS[0]] = {"training": prepared.training, "validation": prepared.validation}
    assert recorded.facts["classes_digest"] == sha256_of(canonical_json(counts))


@pytest.mark.parametrize("gate", ["start", "view", "egress"])
def test_the_clock_is_read_anew_at_every_gate(tmp_path: Path, trainer: type[TrainerInMemory], gate: str) -> None:
    hours = {"hours": {"days": ["monday"], "from": "07:00", "until": "19:00"}}
    job = open_job(make_site(tmp_path, policy=hours))
    asked = {"start": 0, "view": 1, "egress": 2}[gate]
    job.clock = iter([NOW] * asked + [NOW.replace(hour=19)]).__next__
    with pytest.raises(DeniedError, match="`hours`: jobs may run from 07:00 to 19:00 UTC on monday"):
        job.prepare()
        trained(job)
    assert job._sent == 0


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


def test_a_gate_whose_own_code_fails_denies(
    root: Path, trainer: type[TrainerInMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = prepare(root)
    broken = Rule("silo", lambda check: 1 / 0)  # type: ignore[arg-type, return-value]
    monkeypatch.setattr(importlib.import_module("cloister.policies.decide"), "RULES", (broken,))
    with pytest.raises(DeniedError, match="`silo`: the rule failed: ZeroDivisionError"):
        trained(job)
    assert job._sent == 0


def test_the_server_is_told_what_the_policies_demand_of_a_result(
    tmp_path: Path, trainer: type[TrainerInMemory]
) -> None:
    policy, baseline = {"release": {"minimum_sites": 2}}, {"release": {"minimum_records": 50}}
    _, prepared = prepare(make_site(tmp_path, policy=policy, baseline=baseline))
    assert (prepared.release_minimum_sites, prepared.release_minimum_records) == (2, 50)


@pytest.mark.parametrize("answer", [b"", b"junk", write_adapter({"x": np.zeros(1, np.float32)}), b"CLS1" + bytes(1000)])
def test_what_is_no_adapter_stays(root: Path, trainer: type[TrainerInMemory], answer: bytes) -> None:
    job, _ = prepare(root)
    trainer.last.answer = lambda blob: answer
    with pytest.raises(EgressError):
        trained(job)


def test_a_trainer_cannot_claim_more_records_than_it_saw(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, prepared = prepare(root)
    trainer.last.records = prepared.training + 1
    entries_before, sent = len(list(entries(job.log.path))), job._sent
    with pytest.raises(EgressError, match="claims more records"):
        trained(job)
    assert job._sent == sent  # nothing was decided to leave, so nothing is counted, recorded or kept as if it had left
    assert len(list(entries(job.log.path))) == entries_before
    trainer.last.records = prepared.training
    assert trained(job, 2)[0].records == prepared.training


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


# --- with the real trainer in the real sandbox


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
    records(root, [(text, LABELS[0]) for text, _ in records_of("alpha")])
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
