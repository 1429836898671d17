# SPDX-License-Identifier: Apache-2.0
"""docs/coming-over.md against what import and export do."""

from __future__ import annotations

import re

from cloister.nvflare_project import dropped
from cloister.nvflare_project.model import Project, ProjectParticipant
from cloister.nvflare_project.plain import LOST
from cloister.nvflare_project.roles import role_of
from tests.docs.pages import sections, text_of

PAGE = sections(text_of("docs/coming-over.md"), 2)
_FIRST_CELL = re.compile(r"^\| (.+?) \|", re.MULTILINE)
# A participant's own keys, the keys of its builders' settings that other rows cover, and what is kept as it is.
_ELSEWHERE = {
    "type",
    "roles",
    "api_root",
    "protocol",
    "port",
    "cc_config_dict",
    "cc_enabled",
    "cc_issuers",
    "participants",
}
_ELSEWHERE |= {"api_version", "builders", "packager", "description"}


def words(section: str) -> set[str]:
    """What stands in backticks in the first cells of a section's tables."""
    return {word for cell in _FIRST_CELL.findall(PAGE[section]) for word in re.findall(r"`([^`]+)`", cell)}


def test_every_key_has_its_row() -> None:
    named = (
        words("What becomes of what")
        | words("What is dropped, and why")
        | set(re.findall(r"`(\w+)`", PAGE["What is dropped, and why"]))
    )
    keys = (set(ProjectParticipant.model_fields) | set(Project.model_fields)) - _ELSEWHERE
    assert {key for key in keys if key not in named and f"role: {key}" not in named} - {"role"} == set()


def test_roles_become_what_the_page_says() -> None:
    rows = re.findall(r"^\| `role: (.+?) \| `([a-z-]+)`", PAGE["What becomes of what"], re.MULTILINE)
    said = {role: becomes for cell, becomes in rows for role in re.findall(r"\w+", cell.partition(", or")[0])}
    assert said == {role: str(role_of(role)[0]) for role in ("lead", "project_admin", "super", "org_admin", "member")}


def test_builders_that_the_page_names_are_known() -> None:
    known = {path.rpartition(".")[2] for path in dropped.KNOWN}
    named = set(re.findall(r"`(\w+Builder)`", text_of("docs/coming-over.md")))
    assert named and named <= known


def test_what_is_lost_is_said_in_the_same_words() -> None:
    assert re.findall(r"^- (.+)$", PAGE["Going back"], re.MULTILINE) == list(LOST)
