# SPDX-License-Identifier: Apache-2.0
"""The view of a job at a site: what is in it, and when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow import parquet

from cloister.audit import Kind, entries
from cloister.errors import CloisterError, DeniedError, EgressError, RecordsError
from cloister.files import canonical_json, sha256_of
from cloister.records.view.split import held_back
from tests.federation_folder import SPLIT_KEY, records_of, write_records
from tests.flare.site_folder import make_site, open_job, prepare, view
from tests.flare.trainer_in_memory import TrainerInMemory
from tests.flare.wire_form import trained


def test_the_view_holds_two_columns_and_no_identifier(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, _ = prepare(root)
    for name in ("train.parquet", "validation.parquet"):
        assert parquet.read_table(view(job) / name).column_names == ["note", "triage"]


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
    key = SPLIT_KEY[::-1]  # one that is drawn might keep none for validation, in one run of a thousand
    (job.settings.workspace / "split.key").write_bytes(key)
    job.prepare()
    kept = set(parquet.read_table(view(job) / "validation.parquet").column("note").to_pylist())
    assert kept == {note for note, _ in records_of("alpha") if held_back(key, note, 7, 0.25)}
    assert kept != {note for note, _ in records_of("alpha") if held_back(SPLIT_KEY, note, 7, 0.25)}


def test_no_record_is_read_where_the_sites_key_is_none(root: Path, trainer: type[TrainerInMemory]) -> None:
    job = open_job(root)
    (job.settings.workspace / "split.key").write_bytes(b"short")
    with pytest.raises(RecordsError, match="is not a key of 32 bytes"):
        job.prepare()
    assert not view(job).exists()


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


def test_a_trainer_cannot_claim_more_records_than_it_saw(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, prepared = prepare(root)
    trainer.last.records = prepared.training + 1
    entries_before, sent = len(list(entries(job.log.path))), job.egress.sent
    with pytest.raises(EgressError, match="claims more records"):
        trained(job)
    # Nothing was decided to leave, so nothing is counted, recorded or kept as if it had left.
    assert job.egress.sent == sent
    assert len(list(entries(job.log.path))) == entries_before
    trainer.last.records = prepared.training
    assert trained(job, 2)[0].records == prepared.training
