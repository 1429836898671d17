# SPDX-License-Identifier: Apache-2.0
"""NVFlare's other launchers are refused, and what the refusal says of them is what NVFlare's code does."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from cloister.deploy.launchers import check_launcher
from cloister.errors import UsageError


def test_jobs_run_as_processes() -> None:
    check_launcher("process")


@pytest.mark.parametrize(("name", "why"), [("docker", "private key"), ("k8s", "private key"), ("slurm", "private key")])
def test_no_other_launcher_is_taken(name: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        check_launcher(name)


def test_an_unknown_launcher_is_said() -> None:
    with pytest.raises(UsageError, match="no launcher `lsf`"):
        check_launcher("lsf")


def _source(name: str) -> str:
    found = importlib.util.find_spec("nvflare")
    assert found is not None and found.origin is not None
    return (Path(found.origin).parent / "app_opt" / "job_launcher" / name).read_text(encoding="utf-8")


# If NVFlare changes these, docs/adr/0015 is to be thought over again.
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "k8s_launcher.py",
            ['_STARTUP_KEEP_SUFFIXES = (".crt", ".key", ".pem", ".json")', '{"name": "startup-kit", "secret"'],
        ),
        ("slurm/manager.py", ['os.path.realpath(os.path.join(workspace, "startup"))']),
        ("slurm/launcher.py", ['job_image = job_spec.get("image")']),
        ("docker_launcher.py", ["source=host_startup_dir", 'job_image = docker_spec.get("image")']),
    ],
)
def test_the_key_goes_into_the_jobs_container(name: str, lines: list[str]) -> None:
    source = _source(name)
    for line in lines:
        assert line in source
