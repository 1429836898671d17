# SPDX-License-Identifier: Apache-2.0
"""At every gate of a site the policies must stand, and are asked anew."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import DeniedError
from cloister.flare import site_job, site_view, standing
from cloister.flare.site_exchange import opened
from cloister.flare.site_job import SiteJob
from cloister.policies import Rule
from tests.federation_folder import change_document
from tests.flare.signed_jobs import officers_keys
from tests.flare.site_folder import NOW, admitted_job, make_site, open_job, prepare, view
from tests.flare.trainer_in_memory import TrainerInMemory
from tests.flare.wire_form import measured, trained
from tests.signed_policies import revoke_policy


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


@pytest.mark.parametrize("name", ["alpha", "baseline"])
def test_a_policy_revoked_meanwhile_stops_the_view(root: Path, trainer: type[TrainerInMemory], name: str) -> None:
    job = open_job(root)
    revoke_policy(root, name, keys=officers_keys())
    with pytest.raises(DeniedError, match="was revoked"):
        job.prepare()
    assert not view(job).exists()


def revoked_while(monkeypatch: pytest.MonkeyPatch, root: Path, name: str) -> None:
    """The officer takes the policy back while the function ``name`` of the view's module does its work."""
    does = getattr(site_view, name)

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        done = does(*arguments, **named)
        revoke_policy(root, "alpha", keys=officers_keys())
        return done

    monkeypatch.setattr(site_view, name, meanwhile)


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
        "release": lambda: job.egress.release(opened(job.exchange), {}, None, None, 1),
    }
    with pytest.raises(DeniedError, match="was revoked"):
        gates[gate]()
    assert trainer.last.closed == 1
    assert not view(job).exists()
    for other in gates.values():
        with pytest.raises(DeniedError, match="was revoked"):
            other()
    assert job.egress.sent == 0


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
    assert job.egress.sent == 0


def test_a_check_of_revocations_that_throws_stops_a_job(
    root: Path, trainer: type[TrainerInMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = open_job(root)
    job.prepare()

    def stumble(*arguments: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(standing, "check_not_revoked", stumble)
    for gate in (
        lambda: trained(job),
        lambda: measured(job),
        lambda: job.egress.release(opened(job.exchange), {}, None, None, 1),
    ):
        with pytest.raises(RuntimeError):  # the executor makes a refusal of it; nothing was asked, nothing leaves
            gate()
    assert job.egress.sent == 0
    assert trainer.last.closed
    assert not view(job).exists()


def test_no_record_is_read_where_a_rule_denies(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_document(root, "policies/alpha.yaml", {"purposes": ["service-improvement"]})
    settings, identifier, app = admitted_job(root)
    job = SiteJob.open(settings, identifier, app, settings.workspace / "private", lambda: NOW)
    monkeypatch.setattr(site_view, "write_view", lambda *arguments, **named: pytest.fail("the records were read"))
    with pytest.raises(DeniedError):
        job.prepare()


@pytest.mark.parametrize("gate", ["start", "view", "egress"])
def test_the_clock_is_read_anew_at_every_gate(tmp_path: Path, trainer: type[TrainerInMemory], gate: str) -> None:
    hours = {"hours": {"days": ["monday"], "from": "07:00", "until": "19:00"}}
    job = open_job(make_site(tmp_path, policy=hours))
    asked = {"start": 0, "view": 1, "egress": 2}[gate]
    job.gates.clock = iter([NOW] * asked + [NOW.replace(hour=19)]).__next__
    with pytest.raises(DeniedError, match="`hours`: jobs may run from 07:00 to 19:00 UTC on monday"):
        job.prepare()
        trained(job)
    assert job.egress.sent == 0


def test_a_gate_whose_own_code_fails_denies(
    root: Path, trainer: type[TrainerInMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = prepare(root)
    broken = Rule("silo", lambda check: 1 / 0)  # type: ignore[arg-type, return-value]
    monkeypatch.setattr(importlib.import_module("cloister.policies.decide"), "RULES", (broken,))
    with pytest.raises(DeniedError, match="`silo`: the rule failed: ZeroDivisionError"):
        trained(job)
    assert job.egress.sent == 0
