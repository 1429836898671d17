# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page of a finished job: how the adapter got better, round by round and site by site."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from cloister.reports.isolation import without_isolation

# Colours that keep apart for colour-blind readers (Okabe and Ito, https://jfly.uni-koeln.de/color/).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 300, 52, 150, 16, 36

_STYLE = """
:root{color-scheme:light dark;--ink:#1b2430;--soft:#5d6b7a;--line:#d9dfe6;--paper:#fff;--panel:#f6f8fa}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaef;--soft:#9aa7b5;--line:#323c48;--paper:#12171d;--panel:#1a212a}}
body{margin:0 auto;max-width:860px;padding:32px 20px 64px;font:16px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--paper)}
h1{font-size:26px;margin:0}h2{font-size:18px;margin:36px 0 8px}p.lead{color:var(--soft);margin:4px 0 0}
table{border-collapse:collapse;width:100%;font-size:14px}th{text-align:left;color:var(--soft);font-weight:600}
th,td{padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
p.warning{border-left:4px solid #d55e00;padding-left:12px;font-weight:600}
.figures{display:flex;flex-wrap:wrap;gap:12px;margin-top:20px}
.figure{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:12px 16px;min-width:120px}
.figure b{display:block;font-size:24px}.figure span{color:var(--soft);font-size:13px}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}svg .axis{stroke:var(--line)}
code{font-size:12px;word-break:break-all}.scroll{overflow-x:auto}
"""


@dataclass(frozen=True)
class Comparison:
    """The same job done three ways, measured on one test set that no site trained on.

    Attributes:
        records: size of the test set.
        before: accuracy of the adapter that the first round starts from.
        federated: accuracy of the job's result.
        alone: by site, its training records and the accuracy that it reaches by itself with as many steps.
        pooled: accuracy of one trainer on all records together, where that was measured.
    """

    records: int
    before: float
    federated: float
    alone: dict[str, tuple[int, float]]
    pooled: float | None = None

    @property
    def best_alone(self) -> float:
        """The best that any site reaches by itself."""
        return max(accuracy for _, accuracy in self.alone.values())


def result_page(result: dict[str, Any], comparison: Comparison | None = None) -> str:
    """The page.

    Args:
        result: the content of a job's `result.json`.
        comparison: the same job done alone, where that was measured.
    """
    job, chosen = result["job"], result["chosen"]
    sites = {name: site for name, site in result["sites"].items() if site["training"] is not None}
    figures = [
        (f"{chosen['value']:.3f}", f"{chosen['metric']} on validation records"),
        (str(chosen["round"]), f"round chosen, of {result['rounds']}"),
        (str(len(sites)), "sites"),
        (str(sum(site["training"] for site in sites.values())), "training records"),
    ]
    body = [
        f"<h1>{escape(job['job'])}</h1>",
        f'<p class="lead">{escape(job["task"])} for {escape(job["purpose"])}, on {escape(job["base_model"]["name"])}. '
        f"Records stayed at their sites.</p>",
        *_unsafe(result),
        '<div class="figures">',
        *(f'<div class="figure"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in figures),
        "</div>",
    ]
    if comparison:
        body += ["<h2>Together or alone</h2>", _comparison(comparison)]
    metric = job["select_by"]["metric"]
    body += [f"<h2>{escape(metric)} after each round</h2>", _chart(result, metric)]
    body += ["<h2>Sites</h2>", _sites(result["sites"])]
    title = escape(f"{job['job']}: result")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body>{''.join(body)}</body></html>\n"
    )


def _comparison(comparison: Comparison) -> str:
    bars = [("federated", comparison.federated, _COLOURS[0])]
    if comparison.pooled is not None:
        bars.insert(0, ("pooled", comparison.pooled, _COLOURS[2]))
    bars += [(f"{name} alone", accuracy, _COLOURS[1]) for name, (_, accuracy) in sorted(comparison.alone.items())]
    bars.append(("before training", comparison.before, _COLOURS[7]))
    height = 30 * len(bars)
    rows = []
    for index, (name, value, colour) in enumerate(bars):
        y, width = 30 * index, 480 * value
        rows.append(
            f'<text x="170" y="{y + 19}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="180" y="{y + 5}" width="{width:.1f}" height="20" rx="3" fill="{colour}"/>'
            f'<text x="{186 + width:.1f}" y="{y + 19}">{value:.3f}</text>'
        )
    return (
        f'<p class="lead">Accuracy on {comparison.records} records that no site trained on; alone with as many steps.'
        f'</p><div class="scroll"><svg role="img" aria-label="accuracy of each way" width="{_WIDTH}" '
        f'height="{height}" viewBox="0 0 {_WIDTH} {height}">{"".join(rows)}</svg></div>'
    )


def _series(result: dict[str, Any], metric: str) -> dict[str, list[tuple[int, float]]]:
    versions = [(entry["round"] - 1, entry["before"], entry["before_by_site"]) for entry in result["history"]]
    versions.append((result["rounds"], result["after"], result["after_by_site"]))
    series: dict[str, list[tuple[int, float]]] = {"all sites": []}
    for version, mean, by_site in versions:
        for name, metrics in (("all sites", mean), *by_site.items()):
            if metric in metrics:
                series.setdefault(name, []).append((version, metrics[metric]))
    return series


def _chart(result: dict[str, Any], metric: str) -> str:
    series = _series(result, metric)
    values = [value for points in series.values() for _, value in points]
    top = 1.0 if metric != "loss" else max(values, default=1.0) * 1.05
    rounds = max(result["rounds"], 1)

    def at(version: int, value: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * version / rounds
        return x, _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - value / top)

    parts = []
    for step in range(5):
        y = at(0, top * step / 4)[1]
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{top * step / 4:.2f}</text>')
    for version in range(0, rounds + 1, max(1, rounds // 10)):
        parts.append(f'<text x="{at(version, 0)[0]:.1f}" y="{_HEIGHT - 14}" text-anchor="middle">{version}</text>')
    ends: list[float] = []
    for index, (name, points) in enumerate(series.items()):
        parts.append(_line(name, [at(*point) for point in points], index, ends))
    return (
        f'<div class="scroll"><svg role="img" aria-label="{escape(metric)} by round" width="{_WIDTH}" '
        f'height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg></div>'
    )


def _line(name: str, points: list[tuple[float, float]], index: int, ends: list[float]) -> str:
    """One series with its name at the end, moved so that names do not lie on one another."""
    colour = _COLOURS[index % len(_COLOURS)]
    if not points:
        return ""
    x, y = points[-1]
    while any(abs(y - other) < 14 for other in ends):
        y += 2
    ends.append(y)
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    width = 3 if index == 0 else 1.5
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" style="fill:{colour}">{escape(name)}</text>'
    )


def _unsafe(result: dict[str, Any]) -> list[str]:
    names = ", ".join(map(escape, without_isolation(result)))
    return [f'<p class="warning">Trained without isolation (sandbox: unsafe-none) at {names}.</p>'] if names else []


def _sites(sites: dict[str, Any]) -> str:
    rows = []
    for name, site in sorted(sites.items()):
        cells = [site["training"], site["validation"], site["rounds"], site["restarts"]]
        numbers = "".join(f'<td class="n">{"-" if cell is None else escape(str(cell))}</td>' for cell in cells)
        note = escape(site["reason"] or "")
        policy = f"<code>{escape(site['policy'][:16])}</code>" if site["policy"] else "-"
        rows.append(
            f"<tr><td>{escape(name)}</td>{numbers}<td>{escape(site['sandbox'] or '-')}</td>"
            f"<td>{policy}</td><td>{note}</td></tr>"
        )
    return (
        '<div class="scroll"><table><tr><th>site</th><th class="n">training</th><th class="n">validation</th>'
        '<th class="n">rounds</th><th class="n">restarts</th><th>sandbox</th><th>policy digest</th><th>note</th></tr>'
        f"{''.join(rows)}</table></div>"
    )
