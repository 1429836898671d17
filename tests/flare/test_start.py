# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cloister import file_lock
from cloister.audit import FILE, Kind, entries
from cloister.errors import CloisterError, FederationError, ProvisioningError, UsageError
from cloister.files import private_folder
from cloister.flare.kit import server_files, write_kit
from cloister.flare.leftover_updates import RECEIVED, TENSORS
from cloister.flare.personal_layers import KEPT_DAYS, PERSONAL
from cloister.flare.start import main, prepare
from cloister.flare.state import SiteSettings, State
from cloister.trust import roster_file, trust_in_force
from tests.federation_folder import change_document, make_federation
from tests.flare.signed_jobs import provisioned, publish_roster

PORT = 8002


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A federation below a folder with a space in its name, with the kits of its server and of its site `alpha`."""
    root = provisioned(tmp_path / "a federation")
    server = State(root).server
    write_kit(server, server_files(trust_in_force(server).federation, server, PORT))
    return root


def arguments(root: Path, kind: str) -> list[str]:
    workspace = State(root).server if kind == "server" else State(root).site("alpha")
    return [kind, str(workspace), str(root), str(PORT)]


def test_a_site_starts_as_itself_with_mutual_tls(root: Path) -> None:
    module, argv = prepare(arguments(root, "site"))
    assert module == "nvflare.private.fed.app.client.client_train"
    assert argv[:4] == ["-m", str(State(root).site("alpha")), "-s", "fed_client.json"]
    assert {"secure_train=true", "uid=alpha", "org=alpha-hospital"} <= set(argv)


def test_a_server_starts_with_mutual_tls(root: Path) -> None:
    module, argv = prepare(arguments(root, "server"))
    assert module == "nvflare.private.fed.app.server.server_train"
    assert {"secure_train=true", "org=institute"} <= set(argv)


@pytest.mark.parametrize(
    "given",
    [[], ["site"], ["person", "a", "b", "1"], ["site", "a", "b"], ["site", "a", "b", "x"], ["site", "a", "b", "-1"]],
)
def test_a_wrong_call_is_refused(given: list[str]) -> None:
    with pytest.raises(UsageError):
        prepare(given)


@pytest.mark.parametrize(
    "name",
    [
        "local/authorization.json",
        "local/privacy.json",
        "local/resources.json",
        "local/log_config.json",
        "startup/fed_client.json",
    ],
)
def test_a_missing_or_changed_file_stops_a_site(root: Path, name: str) -> None:
    path = State(root).site("alpha") / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ProvisioningError, match="does not hold what was written"):
        prepare(arguments(root, "site"))
    path.unlink()
    with pytest.raises(ProvisioningError, match="does not hold what was written"):
        prepare(arguments(root, "site"))


@pytest.mark.parametrize("kind", ["server", "site"])
def test_code_beside_the_kit_stops_both(root: Path, kind: str) -> None:
    custom = Path(arguments(root, kind)[1]) / "local" / "custom"
    custom.mkdir()
    with pytest.raises(ProvisioningError, match="is not part of a kit"):
        prepare(arguments(root, kind))


@pytest.mark.parametrize("kind", ["server", "site"])
def test_another_port_than_the_kits_stops_both(root: Path, kind: str) -> None:
    with pytest.raises(ProvisioningError, match="does not hold what was written"):
        prepare([*arguments(root, kind)[:3], "8003"])


def test_settings_of_another_folder_stop_a_site(root: Path, tmp_path: Path) -> None:
    site, state = State(root).site("alpha"), State(root).folder
    elsewhere = make_federation(tmp_path / "elsewhere", policy={"submitters": {"roles": ["it-admin"]}})
    for settings in (
        SiteSettings("alpha", elsewhere, site, state),
        SiteSettings("alpha", root, elsewhere, state),
        SiteSettings("alpha", root, site, elsewhere),
    ):
        settings.write(site / "local")
        with pytest.raises(ProvisioningError, match="name another folder"):
            prepare(arguments(root, "site"))


def test_another_sites_settings_stop_a_site(root: Path) -> None:
    site = State(root).site("alpha")
    SiteSettings("beta", root, site, State(root).folder).write(site / "local")
    with pytest.raises(ProvisioningError):
        prepare(arguments(root, "site"))


def test_a_site_that_left_the_roster_does_not_start(root: Path) -> None:
    sites = [{"name": name, "organisation": f"{name}-hospital"} for name in ("beta", "gamma")]
    change_document(root, "provisioning/federation.yaml", {"sites": sites})
    prepare(arguments(root, "site"))  # the document is nobody's word: what counts is what the authority signed
    publish_roster(root)
    with pytest.raises(CloisterError, match="alpha"):
        prepare(arguments(root, "site"))


def test_missing_settings_or_roster_stop_a_site(root: Path) -> None:
    (State(root).site("alpha") / "local" / "cloister.json").unlink()
    with pytest.raises(FederationError):
        prepare(arguments(root, "site"))
    roster_file(State(root).site("alpha")).unlink()
    with pytest.raises(ProvisioningError, match=r"the signed roster `.*` is missing"):
        prepare(arguments(root, "site"))


@pytest.mark.parametrize("kind", ["server", "site"])
def test_a_damaged_replay_cache_stops_both(root: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = arguments(root, kind)
    (Path(given[1]) / "replay.sqlite").write_bytes(b"")
    assert main(given) == 3
    assert "the replay cache" in capsys.readouterr().err


def test_a_refusal_is_one_sentence_and_an_exit_status(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (State(root).site("alpha") / "local" / "privacy.json").unlink()
    assert main(arguments(root, "site")) == 1
    said = capsys.readouterr().err
    assert said.startswith("cloister: ")
    assert said.count("\n") == 1


@pytest.mark.slow
def test_the_process_itself_ends_before_nvflare_begins(root: Path) -> None:
    (State(root).site("alpha") / "local" / "privacy.json").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "cloister.flare.start", *arguments(root, "site")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "does not hold what was written" in done.stderr
    assert "Traceback" not in done.stderr


STARTED = """
import sys
from cloister.flare import start

start.runpy.run_module = lambda *_about, **_more: print("NVFlare begins", flush=True)
sys.exit(start.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_site_that_starts_keeps_nothing_of_jobs_that_were_killed_with_it(root: Path) -> None:
    workspace = State(root).site("alpha")
    run, personal = workspace / "an-id", private_folder(workspace / PERSONAL)
    for left in (run / "private" / "view", run / "private" / TENSORS, run / RECEIVED):
        (private_folder(left) / "one").write_bytes(b"of records, or learnt from them")
    (run / "private" / "trainer.log").write_text("words")
    for name, days in (("old", KEPT_DAYS + 1), ("new", KEPT_DAYS - 1)):
        (personal / f"{name}.safetensors").write_bytes(b"learnt from records")
        os.utime(personal / f"{name}.safetensors", (time.time() - days * 24 * 3600,) * 2)
    done = subprocess.run(
        [sys.executable, "-c", STARTED, *arguments(root, "site")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "NVFlare begins\n"), done.stderr
    assert [path.name for path in run.rglob("*") if path.is_file()] == ["trainer.log"]
    assert [path.stem for path in personal.iterdir()] == ["new"]


SIGNALLED = """
import os, signal, sys, time
from pathlib import Path
from cloister.audit import Kind, Log
from cloister.flare.start import _record_signals

log = Log(Path(sys.argv[1]), "alpha")
log.append(Kind.START)
_record_signals(log)
with log._open():
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    time.sleep(0.5)  # as one who writes into the log while the signal comes
print("let go", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_that_comes_while_the_log_is_held_is_recorded_and_ends_the_process(tmp_path: Path, name: str) -> None:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED, str(tmp_path / "audit"), name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-getattr(signal, name), "let go\n")
    assert time.monotonic() - begun < file_lock.WAIT_SECONDS + 5
    found = [entry.event for entry in entries(tmp_path / "audit" / FILE)]
    assert [event.kind for event in found] == [Kind.START, Kind.STOP]
    assert found[1].facts["reason"] == f"the process was asked to end ({name})"
