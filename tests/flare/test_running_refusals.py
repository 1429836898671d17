# SPDX-License-Identifier: Apache-2.0
"""Hostile jobs in a real federation: properly signed by a person who may submit, and still refused everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from nvflare.fuel.flare_api.api_spec import InternalError, InvalidJobDefinition

from cloister.audit import FILE, Fact, Kind, entries
from cloister.flare.job_folder import write_job_folder
from cloister.repository import load_repository
from tests.federation_folder import JOB, OFFICER, SITES
from tests.flare.live import Live, ended
from tests.flare.signed_jobs import manifest_of
from tests.signed_policies import changed_policies

pytestmark = pytest.mark.flare

Change = Callable[[Path, Path], None]


def _site_config(change: Callable[[dict], object]) -> Change:
    return _config("site_app/config/config_fed_client.json", change)


def _server_config(change: Callable[[dict], object]) -> Change:
    return _config("server_app/config/config_fed_server.json", change)


def _meta(change: Callable[[dict], object]) -> Change:
    return _config("meta.json", change)


def _config(name: str, change: Callable[[dict], object]) -> Change:
    def apply(folder: Path, _marker: Path) -> None:
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))

    return apply


def _custom_code(app: str) -> Change:
    def apply(folder: Path, marker: Path) -> None:
        code = f"open({str(marker)!r}, 'a').write('ran')\nclass Evil:\n    pass\n"
        (folder / app / "custom").mkdir()
        (folder / app / "custom" / "evil.py").write_text(code)
        (folder / app / "custom" / "sitecustomize.py").write_text(code)

    return apply


def _command(folder: Path, marker: Path) -> None:
    path = folder / "site_app/config/config_fed_client.json"
    value = json.loads(path.read_text())
    value["executors"][0]["executor"] = {
        "path": "nvflare.app_common.executors.client_api_executor.ClientAPIExecutor",
        "args": {"execution_mode": "external_process", "command": f"/bin/sh -c 'touch {marker}'"},
    }
    path.write_text(json.dumps(value))


def _code_beside_the_document(folder: Path, marker: Path) -> None:
    (folder / "site_app/config/job.py").write_text(f"open({str(marker)!r}, 'a').write('ran')")


def _link_out(folder: Path, _marker: Path) -> None:
    document = folder / "site_app/config/job.yaml"
    document.write_bytes(document.read_bytes() + b"\nextra: ${secret:file:/etc/passwd}\n")


def _other_format(folder: Path, _marker: Path) -> None:
    (folder / "meta.json").rename(folder / "meta.conf")


_FILTER = {"tasks": ["train"], "filters": [{"path": "nvflare.app_common.filters.exclude_vars.ExcludeVars", "args": {}}]}
_WIDGET = {"id": "w", "path": "nvflare.app_common.widgets.convert_to_fed_event.ConvertToFedEvent", "args": {}}
_FEDAVG = {"id": "f", "path": "nvflare.app_common.workflows.fedavg.FedAvg", "args": {}}

HOSTILE: dict[str, Change] = {
    "custom folder at the sites": _custom_code("site_app"),
    "custom folder at the server": _custom_code("server_app"),
    "command of a client API executor": _command,
    "code beside the document": _code_beside_the_document,
    "secret reference in the document": _link_out,
    "result filter after ours": _site_config(lambda value: value["task_result_filters"].append(_FILTER)),
    "component at the sites": _site_config(lambda value: value["components"].append(_WIDGET)),
    "other class as executor": _site_config(
        lambda value: value["executors"][0]["executor"].update(path="subprocess.Popen", args={"args": ["id"]})
    ),
    "arguments for our executor": _site_config(lambda value: value["executors"][0]["executor"].update(args={"x": 1})),
    "other workflow at the server": _server_config(lambda value: value.update(workflows=[_FEDAVG])),
    "component at the server": _server_config(lambda value: value["components"].append(_WIDGET)),
    "launcher in the meta": _meta(lambda value: value.update(launcher_spec={"default": {"process": {"image": "x"}}})),
    "meta that can include files": _other_format,
    "scope in the meta": _meta(lambda value: value.update(scope="other")),
}


@pytest.mark.parametrize("attempt", HOSTILE)
def test_hostile_job_is_refused_and_nothing_of_it_runs(running: Live, tmp_path: Path, attempt: str):
    repo = load_repository(running.root)
    manifest = manifest_of(running.root, repo.jobs[JOB])
    folder = write_job_folder(repo.jobs[JOB], SITES, manifest, tmp_path / "hostile")
    marker = tmp_path / "marker"
    HOSTILE[attempt](folder, marker)
    with running.session() as session:
        try:
            job_id = str(session._session.submit_job(str(folder)))
        except (InternalError, InvalidJobDefinition) as refused:
            assert "job" in str(refused).lower()
            return
        view = running.wait(session, job_id, ended)
    assert not view.completed
    assert not marker.exists()
    assert not list(running.local.state.folder.glob(f"sites/*/{job_id}/private/view"))


def test_a_job_that_is_sent_again_is_refused_at_once(running: Live, tmp_path: Path):
    job = load_repository(running.root).jobs[JOB]
    folder = write_job_folder(job, SITES, manifest_of(running.root, job), tmp_path / "again")
    with running.session() as session:
        job_id = str(session._session.submit_job(str(folder)))
        with pytest.raises(InvalidJobDefinition, match="this submission was used before"):
            session._session.submit_job(str(folder))
        assert running.wait(session, job_id, ended).completed


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"purposes": ["service-improvement"]}, "purpose"),
        ({"valid_until": "2026-01-02"}, "validity"),
        ({"methods": {"lora": {"targets": ["value"]}}}, "method"),
        ({"datasets": {"clinical-notes": {"minimum_records": 1000}}}, "records"),
    ],
)
def test_a_policy_of_the_site_refuses_by_rule_and_the_submitter_reads_it(running: Live, changes, rule):
    """The change takes effect for the next job, without a restart."""
    with changed_policies(running.root, changes, *SITES):
        job_id = running.submit()
        done = running.cli("job", "watch", job_id, expect=3)
    assert f"`{rule}`" in done.stderr
    assert "policies/alpha.yaml:" in done.stderr


def _grant(**changes: Any) -> dict[str, Any]:
    return {"datasets": {"clinical-notes": changes}}


def _not_now() -> dict[str, Any]:
    """An hour that has not begun, on every day."""
    begin, end = (f"{datetime.now(UTC) + timedelta(hours=hours):%H:%M}" for hours in (2, 3))
    days = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    return {"hours": {"days": list(days), "from": begin, "until": end}}


_ENDED = {"kind": "ethics", "reference": "EC 2025/7", "until": "2026-01-02"}
AT_EACH_GATE = [
    ("admission", "hours", _not_now(), "hours", "jobs may run from"),
    ("admission", "approval", _grant(approval=_ENDED), "approval.until", "the ethics approval `EC 2025/7` ended on"),
    ("view", "classes", _grant(minimum_per_class=100), "minimum_per_class", "has fewer than 100 records to train on"),
    ("egress", "update-norm", {"may_leave": {"maximum_norm": 1e-9}}, "maximum_norm", "may be 1e-09, and is larger"),
]


@pytest.mark.parametrize(("point", "rule", "changes", "key", "message"), AT_EACH_GATE)
def test_each_gate_refuses_by_rule_message_and_line_and_the_log_says_at_which(
    running: Live, point: str, rule: str, changes: dict[str, Any], key: str, message: str
):
    with changed_policies(running.root, changes, *SITES):
        place = _place_of(running, key)
        job_id = running.submit()
        told = running.cli("job", "watch", job_id, expect=3).stderr
    assert f"`{rule}`: " in told
    assert message in told
    assert f"({place};" in told or f"({place})" in told
    decisions = _decisions(running, job_id)
    assert (decisions[-1]["point"], decisions[-1]["effect"], decisions[-1]["rules"]) == (point, "deny", (rule,))
    assert all(decision["effect"] == "allow" for decision in decisions[:-1])


def test_a_waived_rule_lets_the_job_through_and_shows_as_waived(running: Live):
    waiver = {"rule": "training", "reason": "a second round", "by": OFFICER, "until": "2099-01-01"}
    with changed_policies(running.root, {"training": {"maximum_rounds": 1}, "waivers": [waiver]}, *SITES):
        explained = running.json("job", "explain", JOB)["alpha"]
        place, waived_at = _place_of(running, "maximum_rounds"), _place_of(running, "waivers.0")
        job_id = running.submit()
        running.cli("job", "watch", job_id)
    (outcome,) = [each for each in explained["outcomes"] if each["effect"] == "waived"]
    assert (outcome["rule"], outcome["policy_at"], explained["allowed"]) == ("training", place, True)
    assert f"waived until 2099-01-01 by `{OFFICER}` ({waived_at}): `a second round`" in outcome["message"]
    decisions = _decisions(running, job_id)
    assert [decision["point"] for decision in decisions] == ["admission", "start", "view", *["egress"] * 3]
    assert all((each["effect"], each["rules"], each["waived"]) == ("allow", (), ("training",)) for each in decisions)


def _place_of(running: Live, key: str) -> str:
    """`file:line` of the key in alpha's policy whose path ends so."""
    source = load_repository(running.root).policies["alpha"].source
    (path,) = [path for path in source.lines if f".{'.'.join(map(str, path))}".endswith(f".{key}")]
    return source.at(*path)


def _decisions(running: Live, job_id: str) -> list[Mapping[str, Fact]]:
    """What alpha's audit log says of each decision on one job, in their order."""
    events = [entry.event for entry in entries(running.local.state.site("alpha") / "audit" / FILE)]
    return [event.facts for event in events if (event.kind, event.job) == (Kind.DECISION, job_id)]


def test_a_missing_policy_refuses(running: Live):
    paths = [running.root / f"policies/{site}.yaml" for site in SITES]
    job_id = ""
    before = {path: path.read_bytes() for path in paths}
    try:
        repo = load_repository(running.root)
        for path in paths:
            path.unlink()
        with running.session() as session:
            job_id = session.submit(repo.jobs[JOB], list(SITES))
            view = running.wait(session, job_id, ended)
        assert not view.completed
        assert all("is missing" in reason for reason in view.refusals.values()), view.refusals
    finally:
        for path, text in before.items():
            path.write_bytes(text)


def test_other_sites_go_on_when_one_refuses(running: Live):
    with changed_policies(running.root, {"purposes": ["service-improvement"]}, "gamma"):
        job_id = running.submit()
        watched = running.cli("job", "watch", job_id)
        assert "gamma did not admit the job: denied: `purpose`" in watched.stdout
        running.cli("job", "fetch", job_id)
        assert sorted(running.sites_of_result(job_id)) == ["alpha", "beta"]
