# SPDX-License-Identifier: Apache-2.0
"""What the server writes down of a job."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from cloister.documents import Document
from cloister.egress import write_adapter
from cloister.files import sha256_of
from cloister.flare import round_files
from cloister.flare.exchange import TaskName
from cloister.jobs import AdapterLayout, Job
from tests.flare.server_rounds import (
    LAYOUT,
    SITES,
    adapter,
    begun,
    finished,
    open_rounds,
    opened,
    prepared,
    tensors,
    update_of,
)
from tests.flare.signed_jobs import job_of


def test_every_rounds_state_lies_beside_its_adapter(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    folder = tmp_path / "cloister"
    rounds._files.settle()
    for finished_rounds in range(3):
        written = json.loads((folder / "state.json").read_text())
        assert len(written["history"]) == finished_rounds
        assert sha256_of((folder / written["adapter"]).read_bytes()) == written["sha256"]
        assert [path.name for path in folder.glob("adapter-*.safetensors")] == [written["adapter"]]
        if finished_rounds == 2:
            break
        number = opened(rounds)
        for site in SITES:
            rounds.take(site, update_of(number), tensors(1.0))
        rounds.finish_round()
        rounds._files.settle()
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("error_feedback", [True, False])
def test_the_state_of_weights_that_come_down_rounded_lies_beside_them(
    documents: Path, tmp_path: Path, error_feedback: bool
) -> None:
    job = job_of(documents, compression={"down": "int4", "error_feedback": error_feedback})
    rounds, folder = begun(job, tmp_path), tmp_path / "cloister"
    for _ in range(2):
        number = opened(rounds)
        for site in SITES:
            rounds.take(site, update_of(number), tensors(1.0))
        rounds.finish_round()
        rounds._files.settle()
        written = json.loads((folder / "state.json").read_text())
        assert sha256_of((folder / written["adapter"]).read_bytes()) == written["sha256"]
        others = {path.name for path in folder.glob("*.safetensors")} - {"best.safetensors", written["adapter"]}
        assert others == {f"spare-adapter-{number - 1:04d}.safetensors"}


@pytest.mark.parametrize("error_feedback", [True, False])
def test_what_is_left_of_weights_that_come_down_rounded_is_on_the_disk(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_feedback: bool
) -> None:
    synced, sync = list[int](), os.fsync

    def noted(handle: int) -> None:
        synced.append(os.dup(handle))  # kept open, so that no other file is given its number
        sync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    rounds = open_rounds(job_of(documents, compression={"down": "int4", "error_feedback": error_feedback}), tmp_path)
    rounds.ask(TaskName.PREPARE, 0, rounds.invited)
    for site in SITES:
        assert rounds.take(site, prepared(layout=AdapterLayout(LAYOUT.tensors, ())), b"")
    rounds.begin()
    assert finished(rounds, [0.1, 0.2], 0.3)["chosen"]["round"] == 2
    numbers = {os.fstat(handle).st_ino for handle in synced}
    for handle in synced:
        os.close(handle)
    folder = tmp_path / "cloister"
    (state,) = folder.glob("adapter-*.safetensors")
    for path in (state, folder / "adapter" / "adapter_model.safetensors"):
        assert path.stat().st_ino in numbers


def test_a_server_that_dies_while_it_writes_leaves_the_round_before(
    job: Document[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = begun(job, tmp_path)
    folder = tmp_path / "cloister"
    rounds._files.settle()
    before = (folder / "state.json").read_bytes()
    number = opened(rounds)
    for site in SITES:
        rounds.take(site, update_of(number), tensors(1.0))
    write = round_files.write_atomically

    def dies(path: Path, content: bytes, **others: Any) -> None:
        if path.name == "state.json":
            raise SystemExit
        write(path, content, **others)

    monkeypatch.setattr(round_files, "write_atomically", dies)
    rounds.finish_round()
    with pytest.raises(SystemExit):
        rounds._files.settle()
    assert (folder / "state.json").read_bytes() == before
    written = json.loads(before)
    assert sha256_of((folder / written["adapter"]).read_bytes()) == written["sha256"]


@pytest.mark.parametrize("last", [False, True])
def test_a_round_that_cannot_be_written_down_ends_the_job(
    job: Document[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    rounds = begun(job, tmp_path)

    def full(*_: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    for number in (1, 2):
        assert opened(rounds) == number
        for site in SITES:
            assert rounds.take(site, update_of(number), tensors(1.0))
        with monkeypatch.context() as patched:
            if number == (2 if last else 1):
                rounds._files.settle()
                patched.setattr(round_files, "sync_file", full)
            if number == 2 and not last:
                with pytest.raises(OSError, match="No space left"):
                    rounds.finish_round()
                rounds.fail("the disk is full")
                assert (tmp_path / "cloister" / "failure.json").exists()
                return
            rounds.finish_round()
            rounds._files._writer.submit(int).result()  # what was begun is over
    with pytest.raises(OSError, match="No space left"):
        rounds.finish()
    assert not (tmp_path / "cloister" / "result.json").exists()


def test_a_round_goes_on_while_the_one_before_is_written_down(
    job: Document[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds, go_on, sync = begun(job, tmp_path), threading.Event(), round_files.sync_file
    rounds._files.settle()

    def slowly(path: Path) -> None:
        assert go_on.wait(30)
        sync(path)

    monkeypatch.setattr(round_files, "sync_file", slowly)
    written = tmp_path / "cloister" / "state.json"
    for number in (1, 2):
        assert opened(rounds) == number
        for site in SITES:
            assert rounds.take(site, update_of(number), tensors(1.0))
        assert json.loads(written.read_text())["history"] == []
        if number == 1:
            rounds.finish_round()
    go_on.set()
    rounds.finish_round()
    rounds._files.settle()
    assert len(json.loads(written.read_text())["history"]) == 2


def test_a_job_that_fails_waits_for_what_is_being_written_and_leaves_no_spare_and_no_thread(
    job: Document[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds, go_on, sync = begun(job, tmp_path), threading.Event(), round_files.sync_file
    number = opened(rounds)
    for site in SITES:
        assert rounds.take(site, update_of(number), tensors(1.0))

    def slowly(path: Path) -> None:
        assert go_on.wait(30)
        sync(path)

    rounds._files.settle()
    monkeypatch.setattr(round_files, "sync_file", slowly)
    rounds.finish_round()
    threading.Timer(0.2, go_on.set).start()
    rounds.fail("why")
    folder = tmp_path / "cloister"
    assert go_on.is_set()
    assert not list(folder.glob("spare-*"))
    for thread in rounds._files._writer._threads:
        thread.join(30)
        assert not thread.is_alive()


def test_a_job_begins_anew_where_one_was_killed(documents: Path, tmp_path: Path) -> None:
    job, ends = job_of(documents, aggregation={"server": {"nesterov": {}}}), []
    for _ in range(2):  # the second time in the same folder, from which nobody removed anything
        rounds = begun(job, tmp_path)
        number = opened(rounds)
        for site in SITES:
            assert rounds.take(site, update_of(number), tensors(1.0))
        rounds.finish_round()
        rounds._files.settle()
        ends.append((tmp_path / "cloister" / "adapter-0001.safetensors").read_bytes())
        assert any((tmp_path / "cloister-work").iterdir())
    assert ends[0] == ends[1]


def test_the_result_is_a_folder_that_peft_reads(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    result = finished(rounds, [0.1, 0.2], 0.3)
    folder = tmp_path / "cloister"
    blob = (folder / "adapter" / "adapter_model.safetensors").read_bytes()
    assert blob == write_adapter(adapter(rounds))
    assert result["adapter_sha256"] == sha256_of(blob)
    assert result["job_sha256"] == sha256_of(job.text)
    assert result["job"]["job"] == "tiny-triage"
    assert result["phase"] == "completed"
    assert result["after"] == {"accuracy": pytest.approx(0.3)}
    assert sorted(path.name for path in (folder / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    configuration = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert (configuration["r"], configuration["peft_type"]) == (2, "LORA")
    for site in SITES:
        entry = result["sites"][site]
        assert (entry["rounds"], entry["bytes"], entry["training"]) == (2, 2 * len(tensors()), 18)


def test_the_chosen_adapter_is_the_one_that_was_measured(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    first = write_adapter(adapter(rounds))
    finished(rounds, [0.9, 0.2], 0.3)
    assert (tmp_path / "cloister" / "adapter" / "adapter_model.safetensors").read_bytes() == first


def test_a_failure_is_written_with_its_reason(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    rounds.fail("1 of 3 sites gave an update")
    written = json.loads((tmp_path / "cloister" / "failure.json").read_text())
    assert (written["phase"], written["reason"]) == ("failed", "1 of 3 sites gave an update")
    assert not (tmp_path / "cloister" / "result.json").exists()
