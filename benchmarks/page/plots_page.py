# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page of plots: Cloister beside its peers, every number as the tables of the docs have it."""

from __future__ import annotations

import re
from collections.abc import Callable

from benchmarks.page.bars import Bar, bar_chart
from benchmarks.page.markdown_table import Table, table_under, tables_with
from benchmarks.page.points import Point, point_chart
from benchmarks.page.results import Results
from benchmarks.page.round_table import CLOISTER, NVFLARE, Spread, Turn, job_seconds, round_seconds

from cloister.reports.page import figures, page

_POOLED, _MODELS = "pooled", "server, models"
_STYLE = """
body{max-width:900px}svg text{paint-order:stroke;stroke:var(--paper);stroke-width:4px}
svg text.ours{fill:var(--ink);font-weight:600}
svg .spread{stroke:var(--ink);fill:none;stroke-width:1.5}svg .goal{stroke:#d55e00;stroke-dasharray:5 4;stroke-width:1.5}
p.said{color:var(--soft);font-size:14px;margin:0 0 8px}
"""


def plots_page(results: Results, tables: str) -> str:
    """The page.

    Args:
        results: what `benchmarks.page.results` holds.
        tables: docs/benchmarks.md, of which tables are drawn as they stand.
    """
    turns = results["null_job"]["turns"]
    body = [
        "<h1>Cloister beside its peers</h1>",
        '<p class="lead">One machine, two shared cores, no GPU: read ratios, not seconds. How each was measured, what '
        'else was, and what did not help: <a href="benchmarks.md">benchmarks.md</a>.</p>',
        figures(_seen_first(results)),
        *_null_job(results["null_job"]["plan"], turns),
        *_upload(results["upload"]),
        *_aggregation(tables),
        *_transfer(tables),
        *_large(tables),
        *_accuracy(tables),
    ]
    return page("Cloister beside its peers", body, _STYLE)


def _seen_first(results: Results) -> list[tuple[str, str]]:
    turns, rows = results["null_job"]["turns"], results["upload"]["rows"]
    times = Spread.of([round_seconds(turn, NVFLARE) / round_seconds(turn, CLOISTER) for turn in turns])
    jobs = Spread.of([job_seconds(turn, NVFLARE) / job_seconds(turn, CLOISTER) for turn in turns])
    least = min(row["bytes"] for row in rows if _ours(row["name"]))
    return [
        (f"{times.median:.1f} ×", "less per round than NVFlare’s default"),
        (f"{jobs.median:.1f} ×", "less per job of nothing"),
        (f"{rows[0]['bytes'] / least:.1f} ×", "fewer bytes per upload at most: one factor, four bits"),
    ]


def _section(title: str, said: str, drawing: str) -> list[str]:
    return [f"<h2>{title}</h2>", f'<p class="said">{said}</p>', drawing]


def _null_job(plan: dict[str, int], turns: list[Turn]) -> list[str]:
    what = f"{plan['sites']} sites add one to ten numbers in each of {plan['rounds']} rounds. "
    spread = f"Medians of {len(turns)} turn{'s' * (len(turns) > 1)}, and the least and the most."
    line = " The dashed line is the goal."
    return [
        *_section(
            "A round in which nothing is trained, seconds",
            f"{what}{spread} Each tenfold takes the same space.{line}",
            bar_chart("seconds per round", _took(turns, round_seconds, 3), logarithmic=True, goal=0.1),
        ),
        *_section(
            "The whole job, from submission to the finished result, seconds",
            f"{spread} The dashed line, half of NVFlare’s median, is the goal.",
            bar_chart(
                "seconds per job",
                _took(turns, job_seconds, 1),
                goal=Spread.of([job_seconds(turn, NVFLARE) for turn in turns]).median / 2,
            ),
        ),
    ]


def _took(turns: list[Turn], seconds: Callable[[Turn, str], float], digits: int) -> list[Bar]:
    found = {way: Spread.of([seconds(turn, way) for turn in turns]) for way in turns[0]["ways"]}
    return [
        Bar(way, each.median, f"{each.median:.{digits}f}", (each.least, each.most), _ours(way))
        for way, each in found.items()
    ]


def _upload(found: Results) -> list[str]:
    bars = [
        Bar(_plain(row["name"]), row["bytes"], f"{row['bytes']:,}", ours=_ours(row["name"])) for row in found["rows"]
    ]
    what = (
        f"Low-rank factors of rank 8 on query and value of BERT-base: {found['values']:,} values in "
        f"{found['tensors']} tensors. The dashed line is the goal."
    )
    return _section("One round’s upload of one site, bytes", what, bar_chart("bytes per upload", bars, goal=75_000))


def _aggregation(tables: str) -> list[str]:
    rows = table_under(tables, "How fast and how exact updates are combined")
    bars = _from_table(rows, "median", "least to most")
    return _section(
        "The weighted mean of 16 updates of ten million values, over a loop in C",
        "Medians, and the least and the most, of the time over that of the loop in the same turn; the dashed line is "
        "the goal. Each tenfold takes the same space.",
        bar_chart("time over that of a loop in C", bars, logarithmic=True, goal=1.5),
    )


def _transfer(tables: str) -> list[str]:
    rows = table_under(tables, "How fast a large update comes")
    bars = _from_table(rows, "MB/s")
    best = max(bar.value for bar in bars if not bar.ours)
    return _section(
        "A large update from process to process over mutual TLS, MB/s",
        "More is better. The dashed line, half of what gRPC alone does, is the goal.",
        bar_chart("megabytes per second", bars, goal=best / 2),
    )


def _large(tables: str) -> list[str]:
    """Two drawings of the table of large models, once there is one."""
    body = []
    for rows in tables_with(tables, "s per round", _MODELS).values():
        body += _section(
            "The server’s job process with a large model: peak memory, in models",
            "Four bytes for each value are a model. The dashed line is the goal, but for one chunk.",
            bar_chart("peak memory in models", _from_table(rows, _MODELS), goal=1.5),
        )
        body += _section(
            "A round with a large model, seconds",
            "Nothing but one number is added at the sites, so that it is what exchanging takes.",
            bar_chart("seconds per large round", _from_table(rows, "s per round", "least to most, s")),
        )
    return body


def _accuracy(tables: str) -> list[str]:
    """A drawing for each table of accuracy and bytes, however many there are."""
    body = []
    for texts, rows in tables_with(tables, "accuracy", "bytes up").items():
        read = {row[texts]: [float(part) for part in row["accuracy"].split(" ± ")] for row in rows}
        points = [
            Point(_plain(row[texts]), _value(row["bytes up"]), *read[row[texts]]) for row in rows if row["bytes up"]
        ]
        level = (_POOLED, read[_POOLED][0]) if _POOLED in read else None
        body += _section(
            f"Accuracy on skewed text against bytes: {texts}",
            "Bytes that one site sends in one round; mean over seeds, and one standard deviation up and down. Up and "
            "to the left is better. The dashed line is one trainer on all records together.",
            point_chart(f"accuracy against bytes: {texts}", points, level),
        )
    return body


def _from_table(rows: Table, column: str, range_column: str = "") -> list[Bar]:
    """A bar for each row of a table of the docs, with its range where a column of the table has one."""
    bars = []
    for row in rows:
        spread = re.fullmatch(r"([\d.,]+) to ([\d.,]+)", row.get(range_column, ""))
        ends = (_value(spread[1]), _value(spread[2])) if spread else None
        bars.append(Bar(_plain(row[""]), _value(row[column]), row[column], ends, _ours(row[""])))
    return bars


def _value(said: str) -> float:
    return float(said.replace(",", ""))


def _plain(name: str) -> str:
    return name.replace("`", "")


def _ours(name: str) -> bool:
    return name.startswith("Cloister")
