# SPDX-License-Identifier: Apache-2.0
"""Simulations, for tests that compare what came out of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import CloisterError
from cloister.files import private_folder
from cloister.flare.job_view import JobView
from cloister.policies import Submitter
from cloister.repository import load_repository
from cloister.simulation import Cast, Plan, Simulation, cast_of, put_result, working_folder
from tests.federation_folder import PERSON

SUBMITTER = Submitter(PERSON, "institute", "data-scientist")
_OF_ONE_RUN = ("job_id", "seconds", "simulation")


def plan_of(root: Path, job: str, count: int | None = None, **others: Any) -> Plan:
    """The plan for ``job`` in the folder ``root``."""
    repo = load_repository(root.resolve())
    return Plan(repo.root, cast_of(repo, repo.jobs[job], count), SUBMITTER, **others)


def simulated(plan: Plan) -> dict[str, Any]:
    """The content of `result.json`."""
    with working_folder(private_folder(plan.root / ".cloister") / "simulations") as work:
        simulation = Simulation(plan, work)
        simulation.run()
        assert simulation.view.completed
        with tempfile.TemporaryDirectory() as name:
            return put_result(simulation.result, Path(name) / "result", {})


def failed(plan: Plan) -> tuple[CloisterError, JobView]:
    """What a simulation ends with that does not complete, and how far it was."""
    with working_folder(private_folder(plan.root / ".cloister") / "simulations") as work:
        simulation = Simulation(plan, work)
        with pytest.raises(CloisterError) as caught:
            simulation.run()
        return caught.value, simulation.view


def in_order(plan: Plan, names: Sequence[str]) -> Plan:
    """``plan`` with its sites in another order."""
    sites = {site.name: site for site in plan.cast.sites}
    return replace(plan, cast=Cast(plan.document, tuple(sites[name] for name in names)))


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    """What must be the same in every run of a job: all but times, identifiers and what a socket saw."""
    history = [
        {key: value for key, value in entry.items() if key not in ("seconds", "socket")} for entry in result["history"]
    ]
    sites = {name: site | {"socket": None} for name, site in result["sites"].items()}
    kept = {key: value for key, value in result.items() if key not in _OF_ONE_RUN}
    return kept | {"history": history, "sites": sites}
