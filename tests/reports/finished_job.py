# SPDX-License-Identifier: Apache-2.0
"""The result of a job that three sites took part in and one refused, as the server's job process writes it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np

from cloister.flare.exchange import Prepared, Refusal, TaskName, Update
from cloister.flare.rounds import Rounds
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import TensorSpec
from tests.federation_folder import make_federation
from tests.flare.signed_jobs import job_of
from tests.flare.wire_form import encoded

LAYOUT = AdapterLayout((TensorSpec("a", (2, 3), "uniform"),), ("classifier",))
POLICY = "abcdef" + "0" * 58
TENSORS = encoded({"a": np.ones((2, 3), np.float32)}, LAYOUT)


def finished_job(root: Path, **job: Any) -> dict[str, Any]:
    """A job of two rounds, measured 0.25, 0.5 and 0.75 at alpha and 0.25 more at beta; gamma refused."""
    rounds = Rounds(job_of(make_federation(root), **job), "an-id", ["alpha", "beta", "gamma"], root / "cloister")
    rounds.ask(TaskName.PREPARE, 0, rounds.invited)
    for site, training in (("alpha", 18), ("beta", 36)):
        announced = Prepared(
            training=training, validation=6, view="0" * 64, policy=POLICY, sandbox="bubblewrap", layout=LAYOUT.to_json()
        )
        assert rounds.take(site, announced, b"")
    rounds.take("gamma", Refusal(denied=True, reason="`purpose`: not granted (policies/gamma.yaml:12)"), b"")
    rounds.begin()
    for number in (1, 2):
        rounds.next_round()
        rounds.ask(TaskName.TRAIN, number, rounds.taking_part)
        _measure(rounds, number, 0.25 * number, TENSORS)
        rounds.finish_round()
    rounds.ask(TaskName.EVALUATE, 3, rounds.taking_part)
    _measure(rounds, 3, 0.75, b"")
    rounds.finish()
    return dict(json.loads((root / "cloister" / "result.json").read_text()))


def _measure(rounds: Rounds, number: int, accuracy: float, tensors: bytes) -> None:
    for site, more in (("alpha", 0.0), ("beta", 0.25)):
        metrics = {"accuracy": accuracy + more, "loss": 2.0 - accuracy}
        assert rounds.take(site, Update(round=number, records=18, metrics=metrics, restarts=0), tensors)


def hostile(result: dict[str, Any], text: str) -> dict[str, Any]:
    """``result`` with ``text`` wherever a site, a server or a document might put words of its own."""
    changed = copy.deepcopy(result)
    changed["sites"][text] = changed["sites"].pop("alpha")
    changed["sites"]["gamma"]["reason"] = text
    changed["job"]["dataset"]["labels"][0] = text
    changed["job"]["base_model"]["licence"] = text
    for entry in changed["history"]:
        entry["before_by_site"][text] = entry["before_by_site"].pop("alpha")
    changed["after_by_site"][text] = changed["after_by_site"].pop("alpha")
    return changed


def with_socket(result: dict[str, Any]) -> dict[str, Any]:
    """``result`` with what a server's socket would have counted: alpha sends less than beta, and both get the same."""
    changed = copy.deepcopy(result)
    for entry, ups in zip(changed["history"], ((1200, 2200), (200, 1200)), strict=True):
        entry["socket"] = {
            name: {"received": up, "sent": 50_000} for name, up in zip(("alpha", "beta"), ups, strict=True)
        }
    for name, up in (("alpha", 1500), ("beta", 3500)):
        changed["sites"][name]["socket"] = {"received": up, "sent": 101_000}
    return changed
