# SPDX-License-Identifier: Apache-2.0
"""What `make bench` runs is what docs/benchmarks.md names, and every benchmark there is."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, anchors, blocks, links, sections, text_of

PAGE = text_of("docs/benchmarks.md")
NO_BENCHMARKS = {"plots.py", "small_language_model.py"}
"""Commands that measure nothing: one draws what was measured, one makes a model."""

SHORTER = "skewed_text.py"
"""In full it takes hours, so that the page names a shorter command beside it."""


def named() -> list[str]:
    """The commands of the page's ```sh blocks, each in one line."""
    lines = [
        " ".join(line.split())
        for block in blocks(PAGE)
        if block.language == "sh"
        for line in block.text.replace("\\\n", " ").splitlines()
    ]
    return [line for line in lines if "benchmarks/" in line]


def run_by_make() -> list[str]:
    (recipe,) = re.findall(r"^bench:.*\n((?:\t.+\n)+)", text_of("Makefile"), re.MULTILINE)
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]


def script_of(command: str) -> str:
    (script,) = re.findall(r"\.venv/bin/python benchmarks/(\w+\.py)\b", command)
    return str(script)


def test_make_bench_runs_what_the_page_names_in_its_order() -> None:
    (shorter,) = re.findall(rf"^`(\.venv/bin/python benchmarks/{SHORTER} .+)`$", PAGE, re.MULTILINE)
    assert run_by_make() == [shorter if script_of(command) == SHORTER else command for command in named()]


def test_every_benchmark_is_named() -> None:
    guard = 'if __name__ == "__main__":'
    commands = {path.name for path in (ROOT / "benchmarks").glob("*.py") if guard in path.read_text(encoding="utf-8")}
    assert {script_of(command) for command in named()} == commands - NO_BENCHMARKS
    assert commands >= NO_BENCHMARKS


def test_every_section_with_a_command_is_led_to_from_the_top() -> None:
    top = PAGE.partition("\n## All of them\n")[0]
    measured = [title for title, body in sections(PAGE, 2).items() if "\n```sh\n" in body]
    assert measured
    assert anchors("".join(f"## {title}\n" for title in measured)) <= {link.removeprefix("#") for link in links(top)}
