# SPDX-License-Identifier: Apache-2.0
"""A federation that came over from a real NVFlare project runs a job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from cloister.documents import load
from cloister.roster import ROSTER, Federation, Role
from tests.federation_folder import (
    JOB,
    change_document,
    default_baseline,
    default_cases,
    default_job,
    default_policy,
    default_silo,
    fix_splits,
    merged,
    records_of,
    write_document,
    write_records,
)
from tests.flare.live import Live

pytestmark = pytest.mark.flare
REAL = Path(__file__).parents[3] / "shared" / "data" / "nvflare_project_yml"
OFFICER = "olga@research.example"

# Who is to submit: of one project nobody could, as its only admin runs the server.
PROJECTS: Mapping[str, tuple[str, ...]] = {
    "KatherLab__MediSwarm__application__provision__project_nonHA.yml": (
        "--role",
        "jiefu.zhu@tu-dresden.de=data-scientist",
    ),
    "NVIDIA__NVFlare__tests__integration_test__data__projects__authz.yml": (),
}


def fill_in(root: Path) -> tuple[str, ...]:
    """What people write after an import: officers, records, policies with their cases, and a job; the sites."""
    roster = load(root / ROSTER, Federation).value
    names = tuple(site.name for site in roster.sites)
    person = next(each for each in roster.people if each.role is Role.DATA_SCIENTIST)
    asking = {"name": person.name, "organisation": person.organisation, "role": "data-scientist"}
    submitters = {"people": [person.name], "organisations": [person.organisation], "roles": ["data-scientist"]}
    people = [each.model_dump(mode="json") for each in roster.people]
    people.append({"name": OFFICER, "organisation": "research", "role": "compliance-officer"})
    sites = [{"name": each.name, "organisation": each.organisation, "officers": [OFFICER]} for each in roster.sites]
    here = {"host": "localhost", "other_hosts": None, "port": "auto"}  # the real host is not this machine
    change_document(root, ROSTER, {"server": here, "people": people, "sites": sites, "baseline_officers": [OFFICER]})
    for site in roster.sites:
        write_records(root / "records" / f"{site.name}.csv", records_of(site.name))
        silo = merged(default_silo(site.name), {"organisation": site.organisation})
        write_document(root, f"silos/{site.name}.yaml", silo)
        policy = merged(default_policy(site.name), {"submitters": submitters})
        write_document(root, f"policies/{site.name}.yaml", policy)
    write_document(root, "policies/baseline.yaml", default_baseline())
    (root / "jobs" / "first-look.yaml").unlink()
    write_document(root, f"jobs/{JOB}.yaml", default_job(names))
    for rule, cases in default_cases(JOB, names).items():
        for case in cases["cases"]:
            if rule != "submitter" or case["case"] == "allowed":
                case["submitter"] = dict(asking)  # each its own: YAML would refer to what stands twice
        write_document(root, f"policies/cases/{rule}.yaml", cases)
    return names


@pytest.mark.parametrize(("file", "choices"), PROJECTS.items(), ids=["MediSwarm", "NVFlare"])
def test_what_was_imported_runs_a_job(file: str, choices: tuple[str, ...], tmp_path: Path) -> None:
    if not (REAL / file).is_file():
        pytest.skip("the real project files are not here: ../shared/data/nvflare_project_yml")
    live = Live(tmp_path / "federation")
    live.root.mkdir()
    live.cli("import", str(REAL / file), "--to", ".", *choices)
    live.cli("check")
    names = fill_in(live.root)
    live.cli("check")
    live.cli("provision")
    fix_splits(live.root, names)
    live.cli("policy", "sign")
    person = next(each.name for each in live.local.federation.people if each.role is Role.DATA_SCIENTIST)
    try:
        result = live.json("run", JOB, "--as", person)["result"]
    finally:
        live.cli("down", expect=None)
    assert result["phase"] == "completed"
    assert set(result["sites"]) == set(names)
