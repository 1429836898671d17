# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks.html and the tables of docs/benchmarks.md that come from docs/benchmarks.json: all say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from benchmarks import plots
from benchmarks.page import results as results_file
from benchmarks.page.markdown_table import put_between, table_under
from benchmarks.page.plots_page import plots_page
from benchmarks.page.results import add_turns
from benchmarks.page.round_table import CLOISTER, FLOWER, NVFLARE, round_table
from benchmarks.page.upload_table import upload_table
from benchmarks.peers import environments
from benchmarks.peers.run import Run

from tests.docs.pages import ROOT, text_of
from tests.reports.test_result_page import Page

TABLES, DRAWN = text_of("docs/benchmarks.md"), text_of("docs/benchmarks.html")
RESULTS = results_file.read(ROOT / "docs" / "benchmarks.json")
AGAIN = "draw it again: .venv/bin/python benchmarks/plots.py"
ROW = re.compile(
    r'<text(?: class="ours")? x="[\d.]+" y="[\d.]+" text-anchor="end">([^<]+)</text>.*?<text[^>]*>([^<]+)</text>'
)


def turn(**seconds: tuple[list[float], float]) -> dict[str, Any]:
    names = {"nvflare": NVFLARE, "flower": FLOWER, "cloister": CLOISTER}
    ways = {names[key]: {"rounds": rounds, "seconds": job} for key, (rounds, job) in seconds.items()}
    return {"load": 0.2, "ways": ways}


TURNS = [
    turn(nvflare=([2.0, 2.5, 4.5], 20.0), flower=([5.0, 5.0, 5.0], 30.0), cloister=([0.05, 0.04, 0.06], 8.0)),
    turn(nvflare=([2.5, 2.5, 2.5], 22.0), flower=([4.0, 4.0, 4.0], 25.0), cloister=([0.1, 0.1, 0.1], 10.0)),
    turn(nvflare=([2.0, 2.0, 2.0], 18.0), flower=([6.0, 6.0, 6.0], 27.0), cloister=([0.02, 0.02, 0.02], 9.0)),
]
LARGE = """
| | s per round | least to most, s | server, models |
|---|---|---|---|
| NVFlare, 2 sites | 13.80 | 13.60 to 14.00 | 11.60 |
| Cloister, 2 sites | 4.40 | 4.10 to 4.70 | 1.12 |
"""
ACCURACY = """
| novels | accuracy | points from pooled | bytes up | seeds |
|---|---|---|---|---|
| pooled | 0.6212 ± 0.0041 | | | 5 |
| plain <averaging> | 0.6101 ± 0.0102 | -1.11 ± 0.50 | 120000 | 5 |
| `int4` | 0.6150 ± 0.0051 | -0.62 ± 0.40 | 6100 | 5 |
"""


def bars(html: str) -> dict[str, list[list[str]]]:
    """By a drawing's name: each bar's name and number."""
    drawings = re.findall(r'<svg role="img" aria-label="([^"]+)"[^>]*>(.*?)</svg>', html)
    return {name: [list(found) for found in ROW.findall(drawing)] for name, drawing in drawings}


def test_the_page_is_as_its_sources_say() -> None:
    assert plots.with_tables(TABLES, RESULTS) == TABLES, AGAIN
    assert plots_page(RESULTS, TABLES) == DRAWN, AGAIN


def test_the_page_is_whole_and_loads_nothing() -> None:
    for html in (DRAWN, plots_page(RESULTS, TABLES + ACCURACY)):
        page = Page(html)
        assert not page.names() & {"script", "img", "link", "iframe", "object", "image", "use", "foreignobject"}
        targets = [value for _, had in page.tags for name, value in had.items() if name in ("href", "src", "action")]
        assert targets == ["benchmarks.md"]
        assert "url(" not in html and "@import" not in html and "http" not in html


def test_every_number_of_a_bar_stands_in_the_table_of_its_name() -> None:
    found = bars(DRAWN)
    rounds = table_under(TABLES, "What a round costs beyond training")
    uploads = table_under(TABLES, "What an update comes to in bytes")
    sums = table_under(TABLES, "How fast and how exact updates are combined")
    sent = table_under(TABLES, "How fast a large update comes")
    tables = {
        "seconds per round": [[row[""], row["s per round"]] for row in rounds],
        "seconds per job": [[row[""], row["s per job"]] for row in rounds],
        "bytes per upload": [[row[""].removesuffix(" (did not run)"), row["bytes"]] for row in uploads],
        "time over that of a loop in C": [[row[""], row["median"]] for row in sums],
        "megabytes per second": [[row[""], row["MB/s"]] for row in sent],
    }
    plain = {name: [[cell.replace("`", "") for cell in row] for row in rows] for name, rows in tables.items()}
    found = {name: found[name] for name in plain}
    assert {name: [[n.replace("&#x27;", "'"), v] for n, v in rows] for name, rows in found.items()} == plain


def test_ratios_are_of_one_turn_and_have_their_spread() -> None:
    rows = {row[""]: row for row in table_under(f"## x\n\n{round_table(TURNS)}\n", "x")}
    assert round_table(TURNS).endswith("\n\nOf 3 turns; the machine's load average before each was 0.2 to 0.2.")
    assert list(rows[NVFLARE].values())[1:] == [
        *("2.500", "2.000 to 2.500", "50.0 (25.0 to 100.0)"),
        *("20.0", "18.0 to 22.0", "2.2 (2.0 to 2.5)"),
    ]
    assert list(rows[FLOWER].values())[3] == "100.0 (40.0 to 300.0)"
    assert list(rows[CLOISTER].values())[1:] == ["0.050", "0.020 to 0.100", "", "9.0", "8.0 to 10.0", ""]


def test_a_run_leaves_out_the_first_round_and_takes_the_earliest_site() -> None:
    starts = {"1": [10.0, 10.5], "2": [14.0, 13.0], "3": [15.0, 15.5], "4": [15.2, 15.6]}
    run = Run.of({"starts": starts, "submitted": 8.0, "finished": 20.0})
    assert run.told() == {"seconds": 12.0, "before": 2.0, "after": 4.4, "rounds": [2.0, 0.2]}


def test_a_bar_is_as_long_as_its_number_says() -> None:
    drawn = plots_page(RESULTS | {"null_job": {"plan": {"rounds": 5, "sites": 2}, "turns": TURNS}}, TABLES)
    job = re.search(r'aria-label="seconds per job".*?</svg>', drawn)
    assert job is not None
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', job[0])]
    assert [width / widths[0] for width in widths] == pytest.approx([1, 27 / 20, 9 / 20], abs=1e-3)


def test_large_models_are_drawn_once_they_were_measured() -> None:
    assert "in models" not in plots_page(RESULTS, TABLES.replace("server, models", "server"))
    drawn = bars(plots_page(RESULTS, TABLES.replace("server, models", "server") + LARGE))
    assert drawn["peak memory in models"] == [["NVFlare, 2 sites", "11.60"], ["Cloister, 2 sites", "1.12"]]
    assert drawn["seconds per large round"] == [["NVFlare, 2 sites", "13.80"], ["Cloister, 2 sites", "4.40"]]


def test_accuracy_is_drawn_once_it_was_measured() -> None:
    assert "against bytes: novels" not in plots_page(RESULTS, TABLES)
    drawn = plots_page(RESULTS, TABLES + ACCURACY)
    assert re.findall(r">([^<>]+ 0\.6\d\d)</text>", drawn.split("against bytes: novels")[-1]) == [
        *("pooled 0.621", "int4 0.615", "plain &lt;averaging&gt; 0.610"),
    ]


def test_a_filter_that_did_not_run_says_why() -> None:
    rows = [
        {"name": "NVFlare 2.9, float32", "bytes": 1000, "about": 300.0},
        {"name": "NVFlare 2.9, filter blockwise8", "bytes": 500, "error": "AssertionError: no GPU"},
    ]
    table = upload_table({"rows": rows})
    assert "| NVFlare 2.9, filter blockwise8 (did not run) | 500 | 2.0 |  |" in table
    assert "`blockwise8` did not run on this machine: `AssertionError: no GPU`" in table


def test_turns_add_up_and_those_of_another_plan_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for number in range(3):
        add_turns(path, {"rounds": 5, "sites": 2}, TURNS[number : number + 1])
    assert results_file.read(path)["null_job"]["turns"] == TURNS
    with pytest.raises(SystemExit, match="name another file"):
        add_turns(path, {"rounds": 9, "sites": 2}, TURNS)


def test_a_page_without_a_place_or_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for `upload`"):
        put_between("no marks", "upload", "x")
    with pytest.raises(ValueError, match="no table 2 under `x`"):
        table_under("## x\n\n| | a |\n|---|---|\n| b | 1 |\n", "x", 2)


def test_a_peer_that_is_not_there_is_asked_for_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    with pytest.raises(SystemExit, match="run `make peers` once"):
        environments.python_of("flower")


def test_every_peer_has_its_pinned_requirements_and_its_environment_is_ignored() -> None:
    folder = ROOT / "benchmarks" / "peers" / "requirements"
    lines = [line for path in sorted(folder.glob("*.txt")) for line in path.read_text().splitlines() if line[:1] != "#"]
    assert all(re.fullmatch(r"[a-z]+==[\d.]+", line) for line in lines)
    assert {path.stem for path in folder.glob("*.txt")} == {"flower", "nvflare", "nvflare-filters"}
    assert f"/{environments.FOLDER.name}/" in text_of(".gitignore").splitlines()
