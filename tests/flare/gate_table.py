# SPDX-License-Identifier: Apache-2.0
"""Where each rule can deny, and what makes it deny there; why it never can at the points that are left.

Every gate asks every rule. A rule that reads documents alone says at each of them what it said at admission; the start
is tried for it with a record of admission that no admission would have written. A rule that reads the clock, or whose
waiver ends, may allow at one gate and deny at the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from cloister.jobs import Code
from tests.federation_folder import BASE_MODEL_SHA256, LABELS, OFFICER, Tree

Point = Literal["admission", "start", "view", "egress"]
POINTS: tuple[Point, ...] = ("admission", "start", "view", "egress")

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
"""When jobs are admitted and run: after the certificates were written, and no day ends near it."""

CODE = Code({"trainer.py": "class Trainer: ...\n"})
_TODAY = NOON.date().isoformat()
_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Denial:
    """Two cases that differ in one thing; the first is let through, the second is refused.

    Attributes:
        line: the key of the site's policy that the refusal names by its line, from the top.
        policy: what the site's policy says in both.
        job: what the job asks for in both.
        brings: training code of the job's, in both.
        but_policy: what the second's policy says beside that.
        but_silo: what the second's silo document says beside that.
        but_later: by how much later the gate asks in the second; earlier gates ask at noon in both.
        unadmitted: the job process starts with a record that admission would not have written.
        names_somebody: whether a note of the site's has a telephone number in it, in both.
    """

    line: str
    policy: Tree = field(default_factory=dict)
    job: Tree = field(default_factory=dict)
    brings: Code | None = None
    but_policy: Tree = field(default_factory=dict)
    but_silo: Tree = field(default_factory=dict)
    but_later: timedelta = timedelta()
    unadmitted: bool = False
    names_somebody: bool = False


@dataclass(frozen=True)
class Never:
    """Why a rule cannot deny at a point."""

    why: str


NOT_COUNTED = Never("no record is counted before the view is written")
NOTHING_LEAVES = Never("nothing leaves before a round has ended")
SAME = Never("reads neither clock nor counts: what the start let through, this lets through")
PARTS = Never("the egress gate writes anew adapter and head alone, and both were asked about at admission")
MISNAMED = Never("a silo document of another site's name is not read, so the job is refused before a rule is asked")

Row = Mapping[Point, Denial | Never]


def _documents_alone(line: str, **but: Any) -> Row:
    return {
        "admission": Denial(line, **but),
        "start": Denial(line, unadmitted=True, **but),
        "view": SAME,
        "egress": SAME,
    }


def _clock(line: str, later: timedelta, **both: Any) -> Row:
    return {point: Denial(line, but_later=later, **both) for point in POINTS}


def _waived(rule: str, line: str, policy: Tree, **both: Any) -> Denial:
    """What the policy denies and waives for today, asked tomorrow."""
    waiver = {"rule": rule, "reason": "a small ward", "by": OFFICER, "until": _TODAY}
    return Denial(line, policy={**policy, "waivers": [waiver]}, but_later=_A_DAY, **both)


def _at_egress(line: str, limit: Tree) -> Row:
    denial = Denial(line, but_policy={"may_leave": limit})
    return {"admission": NOTHING_LEAVES, "start": NOTHING_LEAVES, "view": NOTHING_LEAVES, "egress": denial}


def _grant(**terms: Any) -> Tree:
    return {"datasets": {"clinical-notes": terms}}


def _counted(rule: str, **terms: Any) -> Row:
    (key,) = terms
    line = _GRANT + key
    return {
        "admission": NOT_COUNTED,
        "start": NOT_COUNTED,
        "view": Denial(line, but_policy=_grant(**terms)),
        "egress": _waived(rule, line, _grant(**terms)),
    }


_GRANT = "datasets.clinical-notes."
_APPROVAL = {"kind": "ethics", "reference": "EC 2026/12", "until": _TODAY}
_APPROVED_CODE = {"approved": [{"sha256": CODE.digest, "by": OFFICER, "until": _TODAY}]}
_WEEK = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_BY_DAY = {"days": _WEEK, "from": "08:00", "until": "18:00"}
_OTHER_MODEL = {"name": "other", "sha256": BASE_MODEL_SHA256, "licence": "apache-2.0"}
_FEW_ROUNDS = {"training": {"maximum_rounds": 1}}
_LARGE_ROUNDS = {"training": {"minimum_records_per_round": 19}}
_DESCRIBES = {"may_leave": {"statistics": {"minimum_count": 2}}}
_STATISTICS = {
    **dict.fromkeys(("base_model", "method", "training", "select_by")),
    "task": "statistics",
    "dataset": {"text": None, "label": None, "labels": None, "features": ["triage"]},
    "federation": {"rounds": 1},
}
_EPOCHS = {"training": {"steps": None, "epochs": 1}}

TABLE: Mapping[str, Row] = {
    "validity": _clock("valid_until", _A_DAY, policy={"valid_until": _TODAY}),
    "silo": {**_documents_alone("", but_silo={"site": "beta"}), "admission": MISNAMED},
    "hours": _clock("hours", timedelta(hours=7), policy={"hours": _BY_DAY}),
    "submitter": _documents_alone("submitters.people", but_policy={"submitters": {"people": [OFFICER]}}),
    "purpose": _documents_alone("purposes", but_policy={"purposes": ["service-improvement"]}),
    "dataset": _documents_alone(_GRANT + "purposes", but_policy=_grant(purposes=["service-improvement"])),
    "approval": _clock(_GRANT + "approval.until", _A_DAY, policy=_grant(approval=_APPROVAL)),
    "columns": _documents_alone(_GRANT + "columns", but_policy=_grant(columns=["note"])),
    "rows": _documents_alone(
        _GRANT + "rows.note", policy=_grant(rows={"triage": list(LABELS)}), but_policy=_grant(rows={"note": ["x"]})
    ),
    "free-text": {
        **_documents_alone("datasets.clinical-notes", but_policy=_grant(free_text=None)),
        "view": Denial(_GRANT + "free_text", but_policy=_grant(free_text="refuse"), names_somebody=True),
        "egress": Never("what is found is counted when the view is written, and says no where that is asked"),
    },
    "records": _counted("records", minimum_records=1000),
    "classes": _counted("classes", minimum_per_class=100),
    "base-model": _documents_alone("base_models", but_policy={"base_models": [_OTHER_MODEL]}),
    "method": _documents_alone("methods.lora.maximum_rank", but_policy={"methods": {"lora": {"maximum_rank": 1}}}),
    "training": {
        "admission": Denial("training.maximum_rounds", but_policy=_FEW_ROUNDS),
        **{point: _waived("training", "training.maximum_rounds", _FEW_ROUNDS) for point in POINTS[1:]},
    },
    "round-records": {
        "admission": Denial("training.minimum_records_per_round", but_policy=_LARGE_ROUNDS),
        "start": _waived("round-records", "training.minimum_records_per_round", _LARGE_ROUNDS),
        "view": Denial("training.minimum_records_per_round", job=_EPOCHS, but_policy=_LARGE_ROUNDS),
        "egress": _waived("round-records", "training.minimum_records_per_round", _LARGE_ROUNDS, job=_EPOCHS),
    },
    "code": _clock(
        "code.approved.0.until", _A_DAY, policy={"code": _APPROVED_CODE}, job={"code": "code/own"}, brings=CODE
    ),
    "sites": _documents_alone("aggregation.minimum_sites", but_policy={"aggregation": {"minimum_sites": 3}}),
    "secure-aggregation": _documents_alone(
        "aggregation.secure_aggregation", but_policy={"aggregation": {"secure_aggregation": "required"}}
    ),
    "privacy": _documents_alone("privacy", but_policy={"privacy": {"unit": "record", "epsilon": 1.0, "delta": 1e-6}}),
    "release": _documents_alone(
        "release.minimum_sites", policy={"release": {"minimum_sites": 2}}, but_policy={"release": {"minimum_sites": 3}}
    ),
    "selection-metric": _documents_alone("may_leave.metrics", but_policy={"may_leave": {"metrics": ["loss"]}}),
    "statistics": {
        **_documents_alone(
            "may_leave", policy=_DESCRIBES, job=_STATISTICS, but_policy={"may_leave": {"statistics": None}}
        ),
        "egress": Never("descriptions leave while the job is prepared, and hold no count below the policy's smallest"),
    },
    "tensors": {
        **_documents_alone("may_leave.tensors", but_policy={"may_leave": {"tensors": ["adapter"]}}),
        "egress": PARTS,
    },
    "update-size": _at_egress("may_leave.maximum_bytes_per_round", {"maximum_bytes_per_round": 100}),
    "update-norm": _at_egress("may_leave.maximum_norm", {"maximum_norm": 1e-9}),
    "metrics": _at_egress(
        "may_leave.metric_bounds.accuracy.maximum", {"metric_bounds": {"accuracy": {"maximum": 0.4}}}
    ),
}

DENIALS: dict[tuple[str, Point], Denial] = {
    (rule, point): entry for rule, row in TABLE.items() for point, entry in row.items() if isinstance(entry, Denial)
}

EXCUSES: dict[tuple[str, Point], Never] = {
    (rule, point): entry for rule, row in TABLE.items() for point, entry in row.items() if isinstance(entry, Never)
}
