# SPDX-License-Identifier: Apache-2.0
"""Whatever the pages point at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, anchors, links, text_of

ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))


def broken(page: Path, text: str) -> list[str]:
    """The links of ``text`` that lead nowhere from ``page``."""
    found = []
    for link in links(text):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert broken(page, page.read_text(encoding="utf-8")) == []


def test_a_broken_link_would_be_found() -> None:
    page = ROOT / "docs" / "index.md"
    wrong = ["nowhere.md", "policies.md#no-such-heading", "#no-such-heading"]
    assert broken(page, " ".join(f"[x]({link})" for link in [*wrong, "policies.md#every-rule"])) == wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_source_file_that_is_named_is_there(page: Path) -> None:
    names = re.findall(r"`((?:src|tests|docs|scripts)/[\w./-]*[\w/])`", page.read_text(encoding="utf-8"))
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    left = [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        names = (link.partition("#")[0] for link in links(page.read_text(encoding="utf-8")))
        left += [(page.parent / name).resolve() for name in names if name]
    assert set(PAGES) - seen == set()


def test_decisions_are_numbered_without_gaps_and_linked() -> None:
    assert [path.name[:5] for path in ADRS] == [f"{number:04d}-" for number in range(1, len(ADRS) + 1)]
    listed = re.findall(r"^- \[(\d{4}) (.+)\]\(adr/(.+)\)$", text_of("docs/index.md"), re.MULTILINE)
    assert [f"adr/{name}" for _, _, name in listed] == [f"adr/{path.name}" for path in ADRS]
    for number, title, name in listed:
        heading = text_of(f"docs/adr/{name}").splitlines()[0]
        assert heading == f"# {number} {title}"


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.name)
def test_every_decision_has_its_four_parts(path: Path) -> None:
    headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == ["Context", "Options", "Decision", "Consequences"]


def test_every_package_has_its_line_in_the_architecture() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \|", text_of("docs/architecture.md").split("\n## Layers\n")[1], re.MULTILINE)
    there = {path.stem for path in (ROOT / "src" / "cloister").iterdir() if not path.name.startswith(("_", "py.typed"))}
    assert set(rows) == there
    assert len(rows) == len(set(rows))


def test_make_targets_that_pages_name_are_targets() -> None:
    targets = re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE)
    for page in PAGES:
        named = re.findall(r"`make ([a-z]+)`|^make ([a-z]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert {first or second for first, second in named} <= set(targets), page
