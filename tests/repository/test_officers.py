# SPDX-License-Identifier: Apache-2.0
"""Whom the roster lets sign policies: people of the roster, in that role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloister.errors import InvalidDocumentsError
from cloister.repository import load_repository
from tests.federation_folder import OFFICER, PERSON, default_roster, make_federation


def _sites(officers: list[str]) -> list[dict[str, Any]]:
    return [entry | {"officers": list(officers)} for entry in default_roster()["sites"]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"baseline_officers": [PERSON]}, f"`{PERSON}` has the role `data-scientist`"),
        ({"baseline_officers": ["nobody@research.example"]}, "person `nobody@research.example` is not in the roster's"),
        ({"sites": _sites([PERSON])}, f"`{PERSON}` has the role `data-scientist`"),
        ({"sites": _sites(["olga@research.exampel"])}, f"did you mean `{OFFICER}`?"),
    ],
)
def test_only_officers_of_the_roster_may_be_listed(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    root = make_federation(tmp_path, roster=changes)
    with pytest.raises(InvalidDocumentsError) as caught:
        load_repository(root)
    problem = caught.value.problems[0]
    text = (root / problem.file).read_text().splitlines()[problem.line - 1]
    assert said in str(problem)
    assert problem.file == "provisioning/federation.yaml"
    assert "example" in text or "exampel" in text, "the line is the name's own"


def test_a_roster_may_list_nobody(tmp_path: Path) -> None:
    root = make_federation(tmp_path, roster={"baseline_officers": [], "sites": _sites([])})
    assert load_repository(root).federation.value.baseline_officers == ()
