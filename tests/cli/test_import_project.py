# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Done, cloister
from tests.nvflare_project.projects import PLAIN


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project.yml"
    path.write_text(PLAIN, encoding="utf-8")
    return path


def run(project: Path, to: Path, *more: str) -> Done:
    return cloister("import", project, "--to", to, *more)


def test_what_is_written_passes_check_and_says_what_became_of_each_line(project: Path, tmp_path: Path) -> None:
    done = run(project, tmp_path / "federation", "--json")
    assert done.status == 0
    assert cloister("check", "-C", tmp_path / "federation").status == 0
    written = sorted(path.relative_to(tmp_path / "federation").as_posix() for path in _files(tmp_path / "federation"))
    assert done.value["written"] == written
    assert {"IMPORTED.md", "provisioning/federation.yaml", "silos/site-1.yaml", "policies/site-2.yaml"} <= set(written)
    assert [each["name"] for each in done.value["participants"]] == [
        "server1",
        "site-1",
        "site-2",
        "admin@nvidia.com",
        "lead@nvidia.com",
    ]
    page = (tmp_path / "federation" / "IMPORTED.md").read_text(encoding="utf-8")
    for each in done.value["changes"]:
        assert set(each) == {"line", "key", "written", "outcome", "became", "why"}
        if each["outcome"] != "kept":
            assert f"project.yml:{each['line']}" in page
            assert each["why"] in page


def test_people_read_it_as_a_table(project: Path, tmp_path: Path) -> None:
    done = run(project, tmp_path / "federation")
    assert "project.yml:23  participants[admin@nvidia.com].role" not in done.err
    assert "participants[admin@nvidia.com].role" in done.out
    assert "now role: it-admin" in done.out
    assert "nobody is `it-admin`" not in done.out
    assert "name the people who may sign each site's policy" in done.out


def test_nothing_that_is_there_is_replaced(project: Path, tmp_path: Path) -> None:
    there = tmp_path / "federation" / "policies" / "site-1.yaml"
    there.parent.mkdir(parents=True)
    there.write_text("mine")
    done = run(project, tmp_path / "federation", "--json")
    assert done.status == 2
    assert done.error["message"] == f"`{there}` is there already, and is not replaced"
    assert _files(tmp_path / "federation") == [there]
    assert there.read_text() == "mine"


def test_a_link_is_not_followed(project: Path, tmp_path: Path) -> None:
    there = tmp_path / "federation" / "provisioning" / "federation.yaml"
    there.parent.mkdir(parents=True)
    there.symlink_to(tmp_path / "elsewhere")
    assert run(project, tmp_path / "federation").status == 2
    assert not (tmp_path / "elsewhere").exists()


def test_an_interrupted_import_can_be_finished(project: Path, tmp_path: Path) -> None:
    run(project, tmp_path / "federation")
    (tmp_path / "federation" / "silos" / "site-2.yaml").unlink()
    assert run(project, tmp_path / "federation").status == 0
    assert cloister("check", "-C", tmp_path / "federation").status == 0


def test_beside_other_files_nothing_of_theirs_is_touched(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "federation" / "README.md"
    other.parent.mkdir()
    other.write_text("ours")
    assert run(project, tmp_path / "federation").status == 0
    assert other.read_text() == "ours"


def test_a_file_that_is_refused_leaves_nothing(project: Path, tmp_path: Path) -> None:
    project.write_text(PLAIN + "  - path: hospital.Firewall\n", encoding="utf-8")
    done = run(project, tmp_path / "federation", "--json")
    assert done.status == 4
    (problem,) = done.error["problems"]
    assert (problem["file"], problem["line"]) == ("project.yml", 32)
    assert "`hospital.Firewall`" in problem["message"]
    assert not (tmp_path / "federation").exists()


def test_a_host_that_no_certificate_can_name_leaves_nothing(project: Path, tmp_path: Path) -> None:
    project.write_text(PLAIN.replace("name: server1", "name: 1.2.3"), encoding="utf-8")
    done = run(project, tmp_path / "federation", "--json")
    assert (done.status, done.error["message"]) == (1, "server host `1.2.3` is neither a DNS name nor an IP address")
    assert not (tmp_path / "federation").exists()


def test_names_and_roles_are_chosen_on_the_command_line(project: Path, tmp_path: Path) -> None:
    done = run(
        project,
        tmp_path / "federation",
        *("--rename", "site-1=st-mary", "--role", "admin@nvidia.com=compliance-officer", "--json"),
    )
    assert {each["was"]: (each["name"], each["role"]) for each in done.value["participants"]}["site-1"] == (
        "st-mary",
        "",
    )
    assert {each["name"]: each["role"] for each in done.value["participants"]}["admin@nvidia.com"] == (
        "compliance-officer"
    )
    assert "nobody is `it-admin`" in " ".join(done.value["to_do"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rename", "site-1"], "`--rename site-1` is not understood"),
        (["--rename", "=x"], "`--rename =x` is not understood"),
        (["--rename", "site-1=a", "--rename", "site-1=b"], "`--rename site-1=b` is not understood"),
        (["--rename", "site-9=a"], "`site-9` is no participant of"),
        (["--role", "admin@nvidia.com=lead"], "`lead` is no role for `admin@nvidia.com`"),
    ],
)
def test_a_choice_that_means_nothing_is_a_usage_error(
    project: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    done = run(project, tmp_path / "federation", *options, "--json")
    assert done.status == 2
    assert done.error["message"].startswith(message)
    assert not (tmp_path / "federation").exists()


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    assert run(tmp_path / "nothing.yml", tmp_path / "federation").status == 2


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
