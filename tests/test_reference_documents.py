# SPDX-License-Identifier: Apache-2.0
"""The documents at the top of the project are themselves a federation that works."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloister.jobs import Task, code_of
from cloister.policies import Decision, Request, Submitter, ViewFacts, decide
from cloister.policies.cases import CASES
from cloister.reference.language_model import SHA256 as LANGUAGE_MODEL
from cloister.repository import Repository, case_results, coverage_problems, load_repository, load_site
from cloister.row_filter import parse

ROOT = Path(__file__).parents[1]
FOLDERS = ("jobs", "silos", "provisioning", "policies")
DOCUMENTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.y*ml"))
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
HOSPITALS = ("hospital-hill", "hospital-north", "hospital-river")
BANKS = ("bank-ash", "bank-elm", "bank-oak")
ASKED = {
    "triage-notes": HOSPITALS,
    "complaint-routing": BANKS,
    "medication-mentions": HOSPITALS,
    "letter-answers": HOSPITALS,
    "heart-risk": HOSPITALS,
    "heart-survival": HOSPITALS,
    "heart-statistics": HOSPITALS,
    "scan-findings": HOSPITALS,
    "lesion-masks": HOSPITALS,
    "account-balance": BANKS,
}
NEEDED = {"clinical-notes": 100, "complaints": 100, "accounts": 100}
"""Records that a view of a dataset must hold; 80 of every other one."""
METRICS = {
    "hospital": {*("accuracy", "macro_f1", "auc", "entity_f1", "token_accuracy", "perplexity"), "c_index", "dice"},
    "bank": {"accuracy", "macro_f1", "rmse", "mae", "r2"},
}


@pytest.fixture(scope="module")
def repository() -> Repository:
    return load_repository(ROOT)


def ask(repository: Repository, job: str, site: str, person: str, records: int | None = None) -> Decision:
    who = repository.federation.value.person(person)
    assert who is not None
    submitter = Submitter(who.name, who.organisation, who.role.value)
    view = None if records is None else ViewFacts(records, {}, people=records)
    request = Request(site, submitter, repository.jobs[job], repository.silos[site], view=view)
    return decide(request, repository.policies_of(site), NOW)


def test_every_document_is_read(repository: Repository) -> None:
    read = [repository.federation, *repository.silos.values(), *repository.jobs.values(), *repository.policies.values()]
    read += repository.cases.values()
    assert sorted(ROOT / document.source.file for document in read) == DOCUMENTS
    assert len(read) == 1 + 6 + 11 + 7 + len(repository.cases)
    assert len(repository.cases) == len(list((ROOT / CASES).glob("*.yaml")))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_document_says_how_to_check_it(path: Path) -> None:
    header = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    assert "cloister " in header


@pytest.mark.parametrize("job", ASKED)
def test_jobs_ask_the_sites_they_are_for(repository: Repository, job: str) -> None:
    assert repository.sites_of(repository.jobs[job].value) == ASKED[job]


@pytest.mark.parametrize(("job", "site"), [(job, site) for job, sites in ASKED.items() for site in sites])
def test_every_site_allows_the_job_it_is_asked_for(repository: Repository, job: str, site: str) -> None:
    needed = NEEDED.get(repository.jobs[job].value.dataset.name, 80)
    for records in (None, needed):
        decision = ask(repository, job, site, "ada@research.example", records)
        assert decision.allowed, decision.sentence()
    refusals = ask(repository, job, site, "ada@research.example", needed - 1).refusals
    assert {refusal.rule for refusal in refusals} == {"records"}


def test_there_is_a_job_of_every_task(repository: Repository) -> None:
    assert {job.value.task for job in repository.jobs.values()} == set(Task)


@pytest.mark.parametrize(
    ("job", "people", "least"), [("heart-risk", 79, 80), ("scan-findings", 59, 60), ("account-balance", 99, 100)]
)
def test_many_records_of_few_people_are_not_enough(repository: Repository, job: str, people: int, least: int) -> None:
    document = repository.jobs[job]
    ada = Submitter("ada@research.example", "research-institute", "data-scientist")
    for site in ASKED[job]:
        for count, denied in ((people, ["records"]), (least, [])):
            view = ViewFacts(500, {}, people=count)
            request = Request(site, ada, document, repository.silos[site], view=view)
            refusals = decide(request, repository.policies_of(site), NOW).refusals
            assert sorted(refusal.rule for refusal in refusals) == denied


@pytest.mark.parametrize("site", [*HOSPITALS, *BANKS])
def test_children_enter_no_view_of_columns(repository: Repository, site: str) -> None:
    name = "heart" if site in HOSPITALS else "accounts"
    assert repository.policies_of(site).row_filter(name) == parse("age >= 18")


def test_what_cloister_makes_is_what_job_and_policies_pin(repository: Repository) -> None:
    base_model = repository.jobs["letter-answers"].value.base_model
    assert base_model is not None
    assert base_model.sha256 == LANGUAGE_MODEL
    for name in (*HOSPITALS, "baseline"):
        granted = repository.policies[name].value.base_models or ()
        assert [each.sha256 for each in granted if each.name == base_model.name] == [LANGUAGE_MODEL]


@pytest.mark.parametrize(("job", "site"), [(job, site) for job, sites in ASKED.items() for site in sites])
@pytest.mark.parametrize("person", ["carla@research.example", "ivan@research.example"])
def test_no_site_lets_anybody_else_train(repository: Repository, job: str, site: str, person: str) -> None:
    decision = ask(repository, job, site, person)
    assert {refusal.rule for refusal in decision.refusals} == {"submitter"}
    assert {refusal.policy_at.split(":")[0] for refusal in decision.refusals} == {
        f"policies/{site}.yaml",
        "policies/baseline.yaml",
    }


@pytest.mark.parametrize(
    ("job", "other"), [("triage-notes", "complaint-routing"), ("complaint-routing", "triage-notes")]
)
def test_no_site_lets_the_other_trades_job_in(repository: Repository, job: str, other: str) -> None:
    for site in ASKED[other]:
        refusals = ask(repository, job, site, "ada@research.example").refusals
        assert {"purpose", "dataset"} <= {refusal.rule for refusal in refusals}


@pytest.mark.parametrize("site", [*HOSPITALS, *BANKS])
def test_each_site_reads_the_same_by_itself(repository: Repository, site: str) -> None:
    alone = load_site(ROOT, site)
    assert alone.policies.digest == repository.policies_of(site).digest
    assert alone.policies.sandbox == "required"
    assert alone.policies.allowed_metrics == METRICS[site.split("-")[0]] | {"loss", "train_loss"}
    assert alone.silo.value == repository.silos[site].value


def test_the_example_of_training_code_is_denied_by_its_rule_alone(repository: Repository) -> None:
    job = repository.jobs["triage-notes-balanced"]
    code = code_of(ROOT, job.value)
    assert code is not None
    ada = Submitter("ada@research.example", "research-institute", "data-scientist")
    for site in repository.sites_of(job.value):
        request = Request(site, ada, job, repository.silos[site], code.digest)
        (refusal,) = decide(request, repository.policies_of(site), NOW).refusals
        assert refusal.rule == "code"
        assert f"cloister policy approve-code {job.value.job} --site {site} --until DATE" in refusal.message


def test_every_case_comes_out_as_it_expects(repository: Repository) -> None:
    results = case_results(repository)
    assert results
    assert [(result.trial.place, result.came) for result in results if not result.passed] == []


def test_every_rule_of_every_policy_is_tried(repository: Repository) -> None:
    assert coverage_problems(repository) == []
