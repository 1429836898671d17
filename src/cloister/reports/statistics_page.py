# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page of what features are like: over all sites, and beside it at each of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from cloister.errors import JobError
from cloister.jobs.statistics import CategorySummary, Histogram, NumberSummary
from cloister.reports.described import (
    NOT_TOLD,
    Described,
    Summary,
    described,
    kind_of,
    nothing_told,
    number,
    said_count,
)
from cloister.reports.page import COLOURS, figures, page
from cloister.reports.site_table import site_table, unsafe_warning

_ALL = "all sites"
_STYLE = """
body{max-width:1040px}
section{border:1px solid var(--line);border-radius:10px;padding:16px 20px 18px;margin:18px 0;background:var(--panel)}
section h3{font-size:17px;margin:0;overflow-wrap:anywhere}
section h3 small{font-weight:400;color:var(--soft);font-size:13px;margin-left:8px}
section p{color:var(--soft);font-size:13px;margin:2px 0 10px}
.grid{display:flex;flex-wrap:wrap;gap:18px 26px;align-items:flex-end}
.plot{margin:0}.plot figcaption{font-size:13px;color:var(--soft);margin-bottom:2px}
.plot.whole figcaption{color:var(--ink);font-weight:600}
table.bars{table-layout:fixed;width:auto;min-width:min(100%,520px)}
table.bars th,table.bars td{border:0;padding:3px 16px 3px 0}
table.bars th{font-weight:400}table.bars th.whole{color:var(--ink);font-weight:600}
table.bars td:first-child{overflow-wrap:anywhere;color:var(--ink)}
table.bars td{white-space:nowrap;font-variant-numeric:tabular-nums;color:var(--soft);font-size:13px}
table.bars svg{vertical-align:middle;margin-right:8px}
.track{fill:var(--line)}.untold{fill:none;stroke:var(--soft);stroke-dasharray:3 3}
svg .base{stroke:var(--soft)}
"""


def statistics_page(result: dict[str, Any]) -> str:
    """The page.

    Args:
        result: the content of `result.json` of a job that described features.

    Raises:
        JobError: where it holds no description.
    """
    found = described(result)
    if found is None:
        raise JobError("the result holds no description of features")
    job = result["job"]
    told = [
        (f"{found.whole.records:,}", "records"),
        (str(len(found.whole.features)), "features"),
        (str(len(found.by_site)), "sites"),
    ]
    body = [
        f"<h1>{escape(job['job'])}</h1>",
        f'<p class="lead">What the features of <code>{escape(job["dataset"]["name"])}</code> are like, for '
        f"{escape(job['purpose'])}. Records stayed at their sites, and only these counts, means and deviations left "
        f"them.</p>",
        *unsafe_warning(result),
        figures(told),
        "<h2>Features</h2>",
        *feature_sections(found),
        f'<p class="lead">“{NOT_TOLD}” stands where a site may not tell a count, because it is below its policy’s '
        f"<code>minimum_count</code>, or because such a one would follow from it; “≥” where a sum lacks such a count. "
        f"Deviations are those of the records themselves, divided by their number.</p>",
        "<h2>Sites</h2>",
        site_table(result["sites"]),
    ]
    return page(f"{job['job']}: statistics", body, _STYLE)


def feature_sections(found: Described) -> list[str]:
    """Each feature with its plots."""
    return [_section(name, summary, found) for name, summary in found.whole.features.items()]


def _section(name: str, summary: Summary, found: Described) -> str:
    at_sites = found.at_sites(name)
    said = f"{summary.present:,} present, {summary.missing:,} missing or not told"
    if isinstance(summary, NumberSummary) and summary.present:
        said += f"; mean {number(summary.mean)}, standard deviation {number(math.sqrt(summary.variance))}"
    if nothing_told(summary):
        plots = "<p>No site may tell anything of it.</p>"
    elif isinstance(summary, NumberSummary):
        numbers = {site: each for site, each in at_sites.items() if isinstance(each, NumberSummary)}
        plots = _histograms(summary, numbers) + _means(summary, numbers)
    else:
        categories = {site: each for site, each in at_sites.items() if isinstance(each, CategorySummary)}
        plots = _bars(summary, categories)
    head = f"<h3>{escape(name)}<small>{kind_of(summary)}</small></h3>"
    return f"<section>{head}<p>{escape(said)}</p>{plots}</section>"


def _bars(whole: CategorySummary, at_sites: dict[str, CategorySummary]) -> str:
    """A row for each value, a column for all sites and one for each: bars as long as the value's share there."""
    columns = [(_ALL, whole), *at_sites.items()]
    head = "".join(
        f"<th{' class=whole' if index == 0 else ''}>{escape(site)}</th>" for index, (site, _) in enumerate(columns)
    )
    rows = []
    for value, count in whole.counts.items():
        parts = [each.counts.get(value, 0) for each in at_sites.values()]
        cells = [_bar(count, whole.present, said_count(count, parts), 0)]
        for index, each in enumerate(at_sites.values(), start=1):
            here = each.counts.get(value, 0)
            cells.append(_bar(here, each.present, said_count(here), index))
        rows.append(f"<tr><td>{escape(value)}</td>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table class="bars"><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'


def _bar(count: int | None, present: int, said: str, index: int) -> str:
    width = 150 if index == 0 else 90
    if count is None:
        shape = f'<rect class="untold" x="0.5" y="1.5" width="{width - 1}" height="11" rx="2"/>'
    else:
        share = min(1.0, count / present) if present else 0.0
        shape = (
            f'<rect class="track" y="1" width="{width}" height="12" rx="2"/>'
            f'<rect y="1" width="{width * share:.1f}" height="12" rx="2" fill="{_colour(index)}"/>'
        )
        said += f" · {share:.0%}" if present else ""
    return f'<td><svg width="{width}" height="14" aria-hidden="true">{shape}</svg>{escape(said)}</td>'


def _histograms(whole: NumberSummary, at_sites: dict[str, NumberSummary]) -> str:
    if whole.histogram is None:
        return ""
    parts = [each.histogram for each in at_sites.values() if each.histogram is not None]
    plots = [_histogram(_ALL, whole.histogram, parts, 0)]
    plots += [
        _histogram(site, each.histogram, (), index)
        for index, (site, each) in enumerate(at_sites.items(), start=1)
        if each.histogram is not None
    ]
    return f'{plots[0]}<div class="grid">{"".join(plots[1:])}</div>'


def _histogram(name: str, bins: Histogram, parts: Sequence[Histogram], index: int) -> str:
    """Bars between edges; one whose count is not told is drawn as an empty frame."""
    width, height = (880, 180) if index == 0 else (230, 120)
    left, right, top, bottom = 8, 14, 18, 22
    low, high = bins.edges[0], bins.edges[-1]
    most = max((count for count in bins.counts if count is not None), default=0) or 1

    def across(value: float) -> float:
        return left + (width - left - right) * (value - low) / (high - low)

    drawn, floor = [], height - bottom
    for place, count in enumerate(bins.counts):
        x, wide = across(bins.edges[place]), across(bins.edges[place + 1]) - across(bins.edges[place])
        tall = (floor - top) * (1.0 if count is None else count / most)
        box = f'x="{x + 1:.1f}" y="{floor - tall:.1f}" width="{max(0.5, wide - 2):.1f}" height="{tall:.1f}"'
        drawn.append(f'<rect class="untold" {box}/>' if count is None else f'<rect {box} fill="{_colour(index)}"/>')
        said = said_count(count, [each.counts[place] for each in parts])
        if wide >= 8 * len(said):
            at = floor - tall - 4 if count is not None else (floor + top) / 2
            drawn.append(f'<text x="{x + wide / 2:.1f}" y="{at:.1f}" text-anchor="middle">{escape(said)}</text>')
    drawn.append(f'<line class="base" x1="{left}" x2="{width - right}" y1="{floor}" y2="{floor}"/>')
    for place in _labelled(bins.edges, width):
        edge, anchor = bins.edges[place], "start" if place == 0 else "middle"
        anchor = "end" if place == len(bins.edges) - 1 else anchor
        drawn.append(
            f'<text x="{across(edge):.1f}" y="{height - 6}" text-anchor="{anchor}">{escape(number(edge))}</text>'
        )
    return _figure(name, index, width, height, drawn)


def _labelled(edges: Sequence[float], width: int) -> list[int]:
    """Which edges have room for their number below them: the first, the last, and every so many between."""
    longest = max(len(number(edge)) for edge in edges)
    step = -(-len(edges) * (8 * longest + 12) // width)
    last = len(edges) - 1
    return [place for place in range(0, last, step) if last - place >= step] + [last]


def _means(whole: NumberSummary, at_sites: dict[str, NumberSummary]) -> str:
    """Means as points, one standard deviation to each side as lines, all on one scale."""
    rows = [(name, each) for name, each in [(_ALL, whole), *at_sites.items()] if each.present]
    spread = [(each.mean - math.sqrt(each.variance), each.mean + math.sqrt(each.variance)) for _, each in rows]
    low, high = min(a for a, _ in spread), max(b for _, b in spread)
    if high <= low:
        low, high = low - 1, high + 1
    left, right, wide = 150, 250, 880

    def across(value: float) -> float:
        return left + (wide - left - right) * (value - low) / (high - low)

    drawn = []
    for index, ((name, each), (begin, end)) in enumerate(zip(rows, spread, strict=True)):
        y, colour = 24 * index + 16, _colour(index)
        said = f"{number(each.mean)} ± {number(math.sqrt(each.variance))}, n = {each.present:,}"
        shown = name if len(name) <= 20 else f"{name[:19]}…"
        drawn.append(
            f'<text x="{left - 14}" y="{y + 4}" text-anchor="end">{escape(shown)}</text>'
            f'<line class="axis" x1="{left}" x2="{wide - right}" y1="{y}" y2="{y}"/>'
            f'<line x1="{across(begin):.1f}" x2="{across(end):.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
            f'stroke-width="3"/><circle cx="{across(each.mean):.1f}" cy="{y}" r="5" fill="{colour}"/>'
            f'<text x="{wide - right + 14}" y="{y + 4}">{escape(said)}</text>'
        )
    title = "mean, and one standard deviation to each side"
    return f'<div class="scroll">{_figure(title, 1, wide, 24 * len(rows) + 8, drawn)}</div>'


def _figure(name: str, index: int, width: int, height: int, drawn: Sequence[str]) -> str:
    whole = " whole" if index == 0 else ""
    return (
        f'<figure class="plot{whole}"><figcaption>{escape(name)}</figcaption><svg role="img" '
        f'aria-label="{escape(name)}" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f"{''.join(drawn)}</svg></figure>"
    )


def _colour(index: int) -> str:
    return COLOURS[0] if index == 0 else COLOURS[1 + (index - 1) % (len(COLOURS) - 1)]
