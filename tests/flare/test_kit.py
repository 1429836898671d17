# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import DeniedError, ProvisioningError
from cloister.files import write_json
from cloister.flare.job_folder import CONTROLLER, EXECUTOR
from cloister.flare.kit import (
    Files,
    check_kit_files,
    check_kit_in_use,
    person_files,
    server_files,
    site_files,
    write_kit,
)
from cloister.flare.state import SiteSettings, State
from cloister.roster import Federation, Role
from tests.federation_folder import PERSON, default_roster

SITE = "alpha"
PORT = 8002


@pytest.fixture(scope="module")
def roster() -> Federation:
    return Federation.model_validate_json(json.dumps(default_roster()))


@pytest.fixture
def files(roster: Federation) -> Files:
    return site_files(roster, SITE, PORT)


@pytest.fixture
def workspace(files: Files, tmp_path: Path) -> Path:
    """A site's kit as `up` leaves it: keys, configuration, settings."""
    workspace = State(tmp_path).site(SITE)
    (workspace / "startup").mkdir(parents=True)
    for name in ("rootCA.pem", "client.crt", "client.key"):
        (workspace / "startup" / name).write_bytes(b"made by provisioning")
    write_kit(workspace, files, settings_in(workspace))
    return workspace


def settings_in(workspace: Path) -> SiteSettings:
    return SiteSettings.at(workspace)


def every_files(roster: Federation) -> dict[str, Files]:
    return {
        "server": server_files(roster, Path("/srv/server"), PORT),
        "site": site_files(roster, SITE, PORT),
        "person": person_files(roster, PERSON, Path("/home/ada"), PORT),
    }


def values_of(value: Any, key: str) -> list[Any]:
    """Every value under ``key``, however deep."""
    if isinstance(value, dict):
        return [found for name, inner in value.items() for found in ([inner] if name == key else values_of(inner, key))]
    return [found for inner in value for found in values_of(inner, key)] if isinstance(value, list) else []


def test_what_is_written_is_what_was_meant(workspace: Path, files: Files) -> None:
    check_kit_files(workspace, files, settings_in(workspace))
    for name, content in files.items():
        assert json.loads((workspace / name).read_text()) == content
        assert (workspace / name).stat().st_mode & 0o777 == 0o600
    for folder in ("startup", "local", "transfer"):
        assert (workspace / folder).stat().st_mode & 0o777 == 0o700


def test_writing_again_mends_what_was_edited(workspace: Path, files: Files) -> None:
    (workspace / "local" / "authorization.json").write_text("{}")
    write_kit(workspace, files, settings_in(workspace))
    check_kit_files(workspace, files, settings_in(workspace))


@pytest.mark.parametrize(
    "name",
    [
        "local/custom/x.py",
        "local/resources.json.default",
        "local/evil__p_resources.json",
        "local/privacy.json.sample",
        "local/authorization.yml",
        "local/study_runtime.yaml",
        "local/comm_config.json",
        "startup/start.sh",
        "startup/.hidden",
        "startup/signature.json",
        "startup/fed_client.json.bak",
    ],
)
def test_a_file_that_cloister_did_not_write_is_refused(workspace: Path, files: Files, name: str) -> None:
    (workspace / name).parent.mkdir(exist_ok=True)
    (workspace / name).write_text("{}")
    with pytest.raises(ProvisioningError, match="is not part of a kit that Cloister writes"):
        check_kit_files(workspace, files, settings_in(workspace))
    with pytest.raises(ProvisioningError, match="is not part of a kit that Cloister writes"):
        write_kit(workspace, files, settings_in(workspace))


@pytest.mark.parametrize("name", ["local/custom", "startup/x"])
def test_an_empty_folder_is_refused_too(workspace: Path, files: Files, name: str) -> None:
    (workspace / name).mkdir()
    with pytest.raises(ProvisioningError, match="is not part of a kit"):
        check_kit_files(workspace, files, settings_in(workspace))


@pytest.mark.parametrize("name", ["local/authorization.json", "startup/client.key"])
def test_a_link_in_a_files_place_is_refused(workspace: Path, files: Files, tmp_path: Path, name: str) -> None:
    (workspace / name).rename(tmp_path / "elsewhere")
    (workspace / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ProvisioningError, match="is not part of a kit"):
        check_kit_files(workspace, files, settings_in(workspace))


def test_every_file_is_needed(workspace: Path, files: Files) -> None:
    for name, content in files.items():
        (workspace / name).unlink()
        with pytest.raises(ProvisioningError, match="does not hold what was written"):
            check_kit_files(workspace, files, settings_in(workspace))
        write_json(workspace / name, content)
    check_kit_files(workspace, files, settings_in(workspace))


def test_every_changed_value_is_found(workspace: Path, files: Files) -> None:
    """One value of each file at a time, wherever it stands."""

    def variants(value: Any) -> list[Any]:
        if isinstance(value, dict):
            found = [{**value, "more": 1}]
            for key, inner in value.items():
                found += [{**value, key: changed} for changed in variants(inner)]
                found.append({name: kept for name, kept in value.items() if name != key})
            return found
        if isinstance(value, list):
            found_ = [[*value, {}]]
            for index, inner in enumerate(value):
                found_ += [[*value[:index], changed, *value[index + 1 :]] for changed in variants(inner)]
            return found_
        if isinstance(value, bool):
            return [not value, int(value)]
        if isinstance(value, int | float):
            return [value + 1, str(value)]
        return [f"{value}x", None]

    count = 0
    for name in ("local/authorization.json", "local/privacy.json", "startup/fed_client.json", "local/resources.json"):
        for changed in variants(copy.deepcopy(files[name])):
            (workspace / name).write_bytes(json.dumps(changed, indent=2, sort_keys=True).encode() + b"\n")
            with pytest.raises(ProvisioningError, match="does not hold what was written"):
                check_kit_files(workspace, files, settings_in(workspace))
            count += 1
        write_json(workspace / name, files[name])
    assert count > 100


def test_a_key_that_stands_twice_is_found(workspace: Path, files: Files) -> None:
    path = workspace / "local" / "authorization.json"
    text = path.read_text()
    path.write_text(text.replace("{", '{\n  "permissions": {"data-scientist": "any"},', 1))
    assert json.loads(path.read_text()) == json.loads(text)
    with pytest.raises(ProvisioningError, match="does not hold what was written"):
        check_kit_files(workspace, files, settings_in(workspace))


def test_changed_settings_are_found(workspace: Path, files: Files, tmp_path: Path) -> None:
    settings = settings_in(workspace)
    replace(settings, root=tmp_path / "elsewhere").write(workspace / "local")
    with pytest.raises(ProvisioningError, match=r"cloister\.json` does not hold what was written"):
        check_kit_files(workspace, files, settings)


def test_a_kit_in_use_is_compared_whole(workspace: Path, roster: Federation, tmp_path: Path) -> None:
    settings = settings_in(workspace)
    with pytest.raises(DeniedError, match="the federation's port is not known"):
        check_kit_in_use(settings, roster)
    write_json(State(tmp_path).port, {"port": PORT})
    check_kit_in_use(settings, roster)
    for name in ("startup/fed_client.json", "local/privacy.json", "local/cloister.json"):
        before = (workspace / name).read_bytes()
        (workspace / name).write_bytes(before.replace(b"{", b"{ ", 1))
        with pytest.raises(DeniedError, match="does not hold what was written"):
            check_kit_in_use(settings, roster)
        (workspace / name).write_bytes(before)
    check_kit_in_use(settings, roster)


def test_a_port_that_the_roster_names_counts_and_no_remembered_one(
    workspace: Path, roster: Federation, tmp_path: Path
) -> None:
    fixed = roster.model_copy(update={"server": roster.server.model_copy(update={"port": PORT})})
    write_json(State(tmp_path).port, {"port": PORT + 1})
    check_kit_in_use(settings_in(workspace), fixed)


def test_settings_are_part_of_a_sites_kit_only(workspace: Path, files: Files) -> None:
    with pytest.raises(ProvisioningError, match=r"cloister\.json"):
        check_kit_files(workspace, files)


def test_nobody_may_bring_code_or_run_commands(roster: Federation) -> None:
    for who, files in every_files(roster).items():
        if who == "person":
            continue
        permissions = files["local/authorization.json"]["permissions"]
        assert set(permissions) <= {role.value for role in Role}
        for rights in permissions.values():
            assert isinstance(rights, dict)  # a bare `any` would grant everything, code included
            follow, own = {"list_jobs", "get_job_meta", "check_status", "app_command"}, {"submit_job", "download_job"}
            assert set(rights) <= ({*follow, *own, "abort_job"} if who == "server" else {"submit_job", "manage_job"})
            assert rights.get("manage_job", "n:submitter") == "n:submitter"
            assert rights.get("download_job", "n:submitter") == "n:submitter"


def test_only_data_scientists_submit(roster: Federation) -> None:
    for who in ("server", "site"):
        permissions = every_files(roster)[who]["local/authorization.json"]["permissions"]
        assert [role for role, rights in permissions.items() if "submit_job" in rights] == ["data-scientist"]


def test_one_class_a_side_may_be_named_by_a_job(roster: Federation) -> None:
    files = every_files(roster)
    for who, allowed in (("server", CONTROLLER), ("site", EXECUTOR)):
        resources = files[who]["local/resources.json"]
        assert resources["class_allow_list"] == [allowed]
        assert resources["class_list_enforcement_mode"] == "enforce"


def test_jobs_must_be_signed_and_connections_mutual(roster: Federation) -> None:
    files = every_files(roster)
    assert files["server"]["startup/fed_server.json"]["require_signed_jobs"] is True
    assert files["site"]["startup/fed_client.json"]["require_signed_jobs"] is True
    for who in files.values():
        assert set(values_of(dict(who), "connection_security")) == {"mtls"}


def test_a_site_streams_no_log_and_gates_every_result(files: Files) -> None:
    assert files["local/resources.json"]["allow_log_streaming"] is False
    privacy = files["local/privacy.json"]
    (scope,) = privacy["scopes"]
    assert privacy["default_scope"] == scope["name"]
    assert [each["path"] for each in scope["task_result_filters"]] == ["cloister.flare.egress_filter.EgressFilter"]
    assert privacy["components"] == []


def test_a_site_decides_with_cloisters_own_parts(files: Files) -> None:
    resources = files["local/resources.json"]
    by_id = {each["id"]: each["path"] for each in resources["components"]}
    assert by_id["app_deployer"] == "cloister.flare.admission.Admission"
    assert by_id["process_launcher"] == "cloister.flare.launcher.SiteLauncher"
    assert resources["app_validator"]["path"] == "cloister.flare.app_check.SiteAppCheck"


def test_every_class_that_is_named_exists(roster: Federation) -> None:
    import importlib

    for files in every_files(roster).values():
        for path in values_of(dict(files), "path"):
            module, _, name = path.rpartition(".")
            assert isinstance(getattr(importlib.import_module(module), name), type)


def test_nothing_lies_in_a_folder_that_others_share(roster: Federation) -> None:
    for files in every_files(roster).values():
        assert "/tmp" not in json.dumps(dict(files))


def test_no_secret_lies_in_a_configuration(roster: Federation) -> None:
    for files in every_files(roster).values():
        text = json.dumps(dict(files)).lower()
        assert not any(word in text for word in ("password", "secret", "token", "private key-----"))
