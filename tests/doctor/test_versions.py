# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.metadata
from dataclasses import replace

import pytest

from cloister.doctor.versions import ask_installed, judge_server, judge_versions

INSTALLED = ask_installed()


def versions(**changes: str | None) -> list[str]:
    found = replace(INSTALLED, versions={**INSTALLED.versions, **changes})
    return [each.code for each in judge_versions(found)]


def test_what_is_installed_here_fits() -> None:
    (found,) = judge_versions(INSTALLED)
    assert found.code == "D1300"
    assert f"nvflare {importlib.metadata.version('nvflare')}" in found.message


def test_another_version_and_a_missing_library_are_told() -> None:
    assert versions(nvflare="2.10.0") == ["D1301"]
    assert versions(nvflare=None) == ["D1301"]
    assert versions(nvflare="2.9.1", pyyaml="5.4") == ["D1301"]


def test_extras_are_not_asked_for() -> None:
    found = ask_installed(["no-such-library>=1; extra == 'dev'", "nvflare>=2.9"])
    assert [each.name for each in found.requirements] == ["nvflare"]
    (told,) = judge_versions(ask_installed(["no-such-library-at-all>=1"]))
    assert told.message == "`no-such-library-at-all` is not installed, and Cloister needs >=1"


@pytest.mark.parametrize("python", ["3.10.4", "3.14.0"])
def test_another_python_is_told(python: str) -> None:
    assert [each.code for each in judge_versions(replace(INSTALLED, python=python))] == ["D1302"]


def test_the_server_s_version_is_compared() -> None:
    assert judge_server("0.1.0", "0.1.0").code == "D1300"
    told = judge_server("0.1.0", "0.2.0")
    assert told.code == "D1303"
    assert told.message == "Cloister is 0.1.0 here and 0.2.0 at the server"
