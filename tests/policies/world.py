# SPDX-License-Identifier: Apache-2.0
"""A site, its two policies, its silo and a job that they allow: each a tree that a test changes before it decides."""

from __future__ import annotations

import copy
import dataclasses
import functools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

from cloister.documents import Document, T, parse
from cloister.jobs import Job
from cloister.policies import (
    Decision,
    Effect,
    Leaving,
    Outcome,
    Policies,
    Policy,
    Request,
    Submitter,
    ViewFacts,
    decide,
)
from cloister.silos import Silo

Tree = dict[str, Any]

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)  # a Monday
ADA = Submitter("ada@research.example", "research-institute", "data-scientist")

CODE = "c" * 64

_GRANTS: Tree = {
    "hours": {"days": ["monday", "tuesday", "friday"], "from": "07:00", "until": "19:00"},
    "submitters": {
        "people": ["ada@research.example", "alan@research.example"],
        "roles": ["data-scientist", "it-admin"],
        "organisations": ["research-institute", "other-institute"],
    },
    "purposes": ["care-improvement", "research"],
    "datasets": {
        "clinical-notes": {
            "columns": ["note", "triage", "age", "ward"],
            "minimum_records": 100,
            "minimum_per_class": 10,
            "minimum_validation_records": 12,
            "purposes": ["care-improvement", "research"],
            "rows": {"ward": ["north", "south"]},
            "free_text": "mask",
            "approval": {"kind": "ethics", "reference": "EC 2026/17", "until": "2099-12-31"},
        },
        "letters": {"columns": ["body"], "minimum_records": 10},
    },
    "base_models": [
        {"name": "all-minilm-l6-v2", "sha256": SHA256, "licence": "apache-2.0"},
        {"name": "other-model", "sha256": "0" * 64, "licence": "mit"},
    ],
    "methods": {
        "lora": {"maximum_rank": 16, "targets": ["query", "value"]},
        "ia3": {"targets": ["key", "value"]},
        "prompt": {"maximum_tokens": 20},
        "prefix": {"maximum_tokens": 10},
        "bitfit": {},
        "full": {"networks": ["base-model", "mlp"]},
    },
    "training": {
        "maximum_rounds": 50,
        "maximum_batch_size": 64,
        "maximum_steps_per_round": 500,
        "maximum_epochs_per_round": 5,
        "minimum_records_per_round": 16,
    },
    "code": {
        "approved": [
            {"sha256": CODE, "by": "nora@north.example", "until": "2099-12-31"},
            {"sha256": "d" * 64, "by": "nora@north.example", "until": "2099-12-31"},
        ]
    },
    "sandbox": "required",
    "may_leave": {
        "tensors": ["adapter", "head"],
        "statistics": {"minimum_count": 5},
        "maximum_bytes_per_round": 20_000_000,
        "maximum_bytes_per_job": 100_000_000,
        "maximum_norm": 10.0,
        "metrics": ["accuracy", "loss"],
        "metric_bounds": {"accuracy": {"minimum": 0.1, "maximum": 0.99}, "loss": {"maximum": 20.0}},
    },
    "aggregation": {"minimum_sites": 2},
    "release": {"minimum_sites": 2, "minimum_records": 300},
}
_DATES: Tree = {"version": 1, "owner": "Nora Lind, officer", "valid_from": "2026-01-01", "valid_until": "2027-12-31"}
_JOB: Tree = {
    "job": "triage-notes",
    "purpose": "care-improvement",
    "task": "text-classification",
    "base_model": {"name": "all-minilm-l6-v2", "sha256": SHA256, "licence": "apache-2.0"},
    "dataset": {
        "name": "clinical-notes",
        "text": "note",
        "label": "triage",
        "labels": ["routine", "urgent"],
        "validation_share": 0.2,
    },
    "method": {"lora": {"rank": 8, "alpha": 16, "targets": ["query", "value"]}},
    "training": {"steps": 8, "batch_size": 16, "learning_rate": 0.002},
    "federation": {"rounds": 3, "minimum_sites": 2},
    "code": "code/triage",
}
_SILO: Tree = {
    "organisation": "northfield-hospital",  # line 1, which a wrong key path falls back to, is no line of interest
    "site": "hospital-north",
    "base_models": {"all-minilm-l6-v2": {"path": "models/minilm"}},
    "datasets": {
        "clinical-notes": {
            "connector": {"kind": "csv", "path": "notes.csv"},
            "columns": {
                "patient_id": {"kind": "identifier"},
                "note": {"kind": "text"},
                "age": {"kind": "number", "minimum": 0},
                "ward": {"kind": "category", "values": ["north", "south", "west"]},
                "triage": {"kind": "category", "values": ["urgent", "routine"]},
            },
        }
    },
}


OTHER_JOBS: dict[str, Tree] = {
    "tabular": {
        "task": "tabular-classification",
        "dataset": {"text": None, "features": ["age", "ward"]},
        "base_model": None,
        "architecture": {"mlp": {"hidden": [4]}},
        "method": {"lora": None, "full": {}},
    },
    "statistics": {
        "task": "statistics",
        "dataset": {"text": None, "label": None, "labels": None, "features": ["age", "ward"]},
        "base_model": None,
        "method": None,
        "training": None,
        "federation": {"rounds": 1},
        "code": None,
    },
    "whole": {"method": {"lora": None, "full": {}}},
}
"""What makes another job of the world's."""


def view_of(records: int) -> ViewFacts:
    """A view of so many records to train on, one half of each class."""
    return ViewFacts(records, {"routine": records // 2, "urgent": records - records // 2})


def leaving(**changes: Any) -> Leaving:
    """What leaves in a common round, with changes."""
    metrics = {"accuracy": 0.5}
    common = Leaving(1000, bytes_before=0, norm=1.5, metrics=metrics, tensors=("adapter", "head"), records=1000)
    return dataclasses.replace(common, **changes)


def of_classes(classes: dict[str, int]) -> ViewFacts:
    """A view of so many records of each class to train on."""
    return ViewFacts(sum(classes.values()), classes)


def merge(tree: Tree, changes: Tree) -> None:
    """Lay ``changes`` over ``tree``, mapping by mapping; an empty value takes a key out."""
    for key, value in changes.items():
        if isinstance(value, dict):
            merge(tree.setdefault(key, {}), value)
        elif value is None:
            tree.pop(key)
        else:
            tree[key] = value


def grants() -> Tree:
    """Every section that grants something, all of them wide enough for the job."""
    return copy.deepcopy(_GRANTS)


@dataclass
class World:
    """Trees to change, then `decide`, at the last gate of all: a job with code, its view, and what is about to leave.

    Attributes:
        site: the site's own policy.
        baseline: the baseline, which says the same as the site's own policy.
        job: the job.
        silo: the silo.
        view: the view, counted.
        leaving: what is about to leave.
        code: digest of the code that the job brings.
        submitter: who asks.
        now: the moment.
        asked_site: the site of the request.
    """

    site: Tree = field(
        default_factory=lambda: {**_DATES, "policy": "hospital-north", "extends": "baseline", **grants()}
    )
    baseline: Tree = field(default_factory=lambda: {**_DATES, "policy": "baseline", **grants()})
    job: Tree = field(default_factory=lambda: copy.deepcopy(_JOB))
    silo: Tree = field(default_factory=lambda: copy.deepcopy(_SILO))
    view: ViewFacts | None = field(default_factory=lambda: view_of(100))
    leaving: Leaving | None = field(default_factory=leaving)
    code: str | None = CODE
    submitter: Submitter = ADA
    now: datetime = NOW
    asked_site: str = "hospital-north"

    def waive(self, rule: str, *, which: str = "site", until: str = "2026-06-01", **more: Any) -> None:
        """Write a waiver of ``rule`` into one of the two documents."""
        tree = self.site if which == "site" else self.baseline
        waiver = {"rule": rule, "reason": "a first trial", "by": "Nora Lind", "until": until, **more}
        tree["waivers"] = [*tree.get("waivers", []), waiver]

    def ask(self, changes: Tree, *, which: str = "site") -> None:
        """Change what is asked, as docs/policies.md and outcomes.yaml write it; a key that is not known is the job's.

        `policy` is the document ``which``, `brings` the digest of code, `view` how many records, in all or by class,
        `becomes` makes it one of `OTHER_JOBS`,
        and `validation` the same of those kept from training, in a view that is there already; so `people` and
        `identifying`.
        """
        for key, value in changes.items():
            if key == "policy":
                merge(self.site if which == "site" else self.baseline, value)
            elif key == "silo":
                merge(self.silo, value)
            elif key == "now":
                self.now = datetime.fromisoformat(value).replace(tzinfo=UTC)
            elif key == "view":
                self.view = view_of(value) if isinstance(value, int) else value and of_classes(value)
            elif key == "validation":
                assert self.view is not None
                kept = view_of(value) if isinstance(value, int) else of_classes(value)
                self.view = dataclasses.replace(self.view, validation=kept.records, validation_classes=kept.classes)
            elif key in ("people", "identifying"):
                assert self.view is not None
                self.view = dataclasses.replace(self.view, **{key: value})
            elif key == "leaving":
                self.leaving = value and leaving(**value)
            elif key == "becomes":
                merge(self.job, copy.deepcopy(OTHER_JOBS[value]))
                self.code = None if value == "statistics" else self.code
            elif key == "brings":
                self.code = value
            elif key == "submitter":
                self.submitter = dataclasses.replace(self.submitter, **value)
            else:
                merge(self.job, {key: value})

    def silence_baseline(self) -> None:
        """Leave the baseline its dates alone, so that it sets no floor."""
        self.baseline = {**_DATES, "policy": "baseline"}

    def policies(self) -> Policies:
        """Both policies, as documents."""
        return Policies(document(self.site, Policy, "site.yaml"), document(self.baseline, Policy, "baseline.yaml"))

    def request(self) -> Request:
        """What is asked."""
        job, silo = document(self.job, Job, "job.yaml"), document(self.silo, Silo, "silo.yaml")
        return Request(self.asked_site, self.submitter, job, silo, self.code, self.view, self.leaving)

    def decide(self) -> Decision:
        """Decide on the trees as they are now."""
        return decide(self.request(), self.policies(), self.now)

    def outcomes(self, rule: str) -> list[Outcome]:
        """What ``rule`` finds."""
        return [outcome for outcome in self.decide().outcomes if outcome.rule == rule]

    def effects(self, rule: str) -> list[str]:
        """Effects of ``rule``, the site's own policy first."""
        return [outcome.effect.value for outcome in self.outcomes(rule)]

    def refusal(self, rule: str) -> Outcome:
        """The one refusal of the whole decision, which must be that of ``rule``."""
        refusals = self.decide().refusals
        assert [refusal.rule for refusal in refusals] == [rule], [refusal.sentence() for refusal in refusals]
        assert refusals[0].effect is Effect.DENY
        return refusals[0]

    def line(self, place: str) -> str:
        """The text of the line that ``place`` (`file:line`) names."""
        file, number = place.split(":")
        tree = {"site.yaml": self.site, "baseline.yaml": self.baseline, "job.yaml": self.job, "silo.yaml": self.silo}[
            file
        ]
        return text_of(tree).decode().splitlines()[int(number) - 1].strip()


def text_of(tree: Tree) -> bytes:
    """``tree`` as the YAML that a person would write, one entry a line."""
    return yaml.dump(tree, Dumper=_DUMPER, sort_keys=False, default_flow_style=False, width=1000).encode()


def document(tree: Tree, model: type[T], name: str) -> Document[T]:
    """``tree`` as a document that was read from a file called ``name``."""
    return _parse(text_of(tree), model, name)


@functools.cache  # most tests change one of four documents
def _parse(text: bytes, model: type[T], name: str) -> Document[T]:
    return parse(text, model, name=name)
