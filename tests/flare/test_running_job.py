# SPDX-License-Identifier: Apache-2.0
"""A job in a real federation: processes, mutual TLS, sandboxed trainers, a result that `peft` loads."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from cloister.jobs import layout_of
from cloister.repository import load_repository
from tests.federation_folder import JOB, LABELS, OFFICER, SITES, base_model, make_federation
from tests.flare.live import Live, readable_by_others

pytestmark = pytest.mark.flare


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Live, Path, dict]:
    """A federation after `cloister run`, with nothing before it but keys and signed policies."""
    live = Live(make_federation(tmp_path_factory.mktemp("finished")))
    live.cli("provision")
    live.cli("policy", "sign")
    value = live.json("run", JOB)
    return live, Path(value["folder"]), value["result"]


def test_a_run_leaves_a_result_and_no_process(finished):
    live, folder, result = finished
    assert live.processes() == []
    assert {path.name for path in folder.iterdir()} == {"adapter", "MODEL_CARD.md", "result.html", "result.json"}
    assert result["phase"] == "completed"
    assert [entry["round"] for entry in result["history"]] == [1, 2]
    assert all(entry["sites"] == list(SITES) for entry in result["history"])


def test_what_passed_the_socket_is_told_by_site_and_by_round(finished):
    _, _, result = finished
    for name, site in result["sites"].items():
        rounds = [entry["socket"][name]["received"] for entry in result["history"]]
        assert site["bytes"] / 2 < min(rounds), "an update passes the socket in each round"
        assert site["bytes"] < sum(rounds) < site["socket"]["received"]
        # The first round's are those of the start too: signs of life, for as long as the machine takes over that.
        assert rounds[-1] < 1.2 * site["bytes"] / len(rounds) + 50_000


def test_the_server_learns_counts_and_digests_and_no_record(finished):
    live, _, result = finished
    for name, site in result["sites"].items():
        assert site["sandbox"] == "bubblewrap"
        assert site["training"] + site["validation"] == 24
        assert site["policy"] == load_repository(live.root).policies_of(name).digest
    at_the_server = [path for path in live.local.state.server.rglob("*") if path.is_file()]
    assert at_the_server
    assert not [path for path in at_the_server if b"patient with" in path.read_bytes()]


def test_views_are_gone_after_the_job(finished):
    live, _, _ = finished
    for site in SITES:
        assert not list(live.local.state.site(site).rglob("*.parquet"))


def test_peft_loads_the_result_on_the_base_model(finished):
    from peft import PeftModel
    from safetensors.numpy import load_file
    from transformers import AutoModelForSequenceClassification

    live, folder, _ = finished
    base = AutoModelForSequenceClassification.from_pretrained(base_model(), num_labels=len(LABELS))
    model = PeftModel.from_pretrained(base, str(folder / "adapter"))
    arrays = load_file(folder / "adapter" / "adapter_model.safetensors")
    loaded = dict(model.named_parameters())
    factor = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_B.weight"
    assert (loaded[factor.replace(".weight", ".default.weight")].detach().numpy() == arrays[factor]).all()
    head = "base_model.model.classifier.weight"
    trained = loaded["base_model.model.classifier.modules_to_save.default.weight"]
    assert (trained.detach().numpy() == arrays[head]).all()
    job = load_repository(live.root).jobs[JOB].value
    assert {name: array.shape for name, array in arrays.items()} == layout_of(job, base_model=base_model()).shapes()


def test_model_card_names_what_an_auditor_asks_for(finished):
    _, folder, result = finished
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    for site in result["sites"].values():
        assert site["policy"] in card
    for word in (*SITES, result["job"]["base_model"]["sha256"], result["adapter_sha256"]):
        assert word in card


def test_state_is_private_and_nothing_lies_in_a_shared_folder(finished):
    live, _, _ = finished
    state = live.local.state.folder
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert readable_by_others(state) == []
    assert not Path("/tmp/nvflare").exists()


def test_commands_on_a_running_federation(running: Live):
    status = running.json("status")
    assert [row["connected"] for row in status["processes"]] == [None, True, True, True]
    assert all(row["problems"] == [] for row in status["processes"])
    job_id = running.submit()
    watched = running.cli("job", "watch", job_id)
    assert "round 2 of 2: 3 of 3 sites" in watched.stdout
    assert [view["job_id"] for view in running.json("job", "list")] == [job_id]
    fetched = running.json("job", "fetch", "last")
    assert json.loads((Path(fetched["folder"]) / "result.json").read_text())["job_id"] == job_id
    assert running.json("job", "watch", job_id)["status"] == "FINISHED:COMPLETED"


def test_abort_stops_the_job_and_says_so(running: Live):
    job_id = running.submit()
    running.cli("job", "abort", job_id)
    done = running.cli("job", "watch", job_id, expect=1)
    assert "was aborted" in done.stderr
    assert running.cli("job", "fetch", job_id, expect=1).stderr


def test_unknown_job_is_a_usage_error(running: Live):
    assert "no such job" in running.cli("job", "watch", "11111111-1111-1111-1111-111111111111", expect=2).stderr


def test_a_second_federation_on_this_host_sees_nothing_of_the_first(running: Live, stopped: Live):
    running.submit()
    stopped.cli("provision")
    stopped.cli("up")
    assert stopped.json("job", "list") == []
    assert stopped.local.remembered_port() != running.local.remembered_port()
    stopped.cli("down")
    assert stopped.processes() == []
    assert all(row["pid"] for row in running.json("status")["processes"])


def test_up_twice_starts_nothing_and_then_only_what_was_killed(running: Live):
    assert running.json("up")["started"] == []
    running.process_of("cloister.flare.start", "site", "/alpha").kill()
    assert running.json("up")["started"] == ["alpha"]


def test_a_person_of_another_role_may_not_submit(running: Live):
    done = running.cli("job", "submit", JOB, "--as", OFFICER, expect=3)
    assert "does not allow" in done.stderr
