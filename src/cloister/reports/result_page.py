# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page of a finished job: how the adapter got better, round by round and site by site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from cloister.jobs.metrics import METRICS
from cloister.reports.aggregation_words import aggregation_words
from cloister.reports.chosen_words import unimproved
from cloister.reports.factor_words import factor_words
from cloister.reports.method_words import is_adapter, method_name
from cloister.reports.page import COLOURS, figures, page
from cloister.reports.simulated import simulated
from cloister.reports.site_table import site_table, unsafe_warning
from cloister.reports.travelled import ROUND_HEAD, by_round, counted_words, form_words

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 300, 52, 150, 16, 36

_STEPS = 4


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
    told = [
        (f"{chosen['value']:.3f}", f"{chosen['metric']} on validation records"),
        (str(chosen["round"] or "none"), f"round chosen, of {result['rounds']}"),
        (str(len(sites)), "sites"),
        (f"{sum(site['training'] for site in sites.values()):,}", "training records"),
    ]
    body = [
        f"<h1>{escape(job['job'])}</h1>",
        f'<p class="lead">{escape(job["task"])} for {escape(job["purpose"])}, {escape(_network(job))}. '
        f"Records stayed at their sites.</p>",
        *unsafe_warning(result),
        *([f'<p class="warning">{escape(said)}</p>'] if (said := simulated(result)) else []),
        *([f'<p class="warning">{escape(said)}</p>'] if (said := unimproved(result)) else []),
        figures(told),
    ]
    if comparison:
        body += ["<h2>Together or alone</h2>", _comparison(comparison)]
    chosen_by = job["select_by"]["metric"]
    for metric in (chosen_by, *(name for name in _measured(result) if name != chosen_by)):
        body += [f"<h2>{escape(metric)} after each round</h2>", _chart(result, metric)]
    body += [*_factors(result), *_travelled(result), "<h2>Sites</h2>", site_table(result["sites"])]
    return page(f"{job['job']}: result", body)


def _factors(result: dict[str, Any]) -> list[str]:
    """By round what became of the factors, where the job's rule sums their products."""
    told = [
        f"<li>Round {entry['round']}: {escape(said)}.</li>"
        for entry in result["history"]
        if (said := factor_words(entry))
    ]
    return ["<h2>Factors</h2>", f"<ul>{''.join(told)}</ul>"] if told else []


def _travelled(result: dict[str, Any]) -> list[str]:
    """How updates were combined, in what form values travelled, and how many bytes that took by round."""
    job = result["job"]
    said = f"<b>Combined by</b> {escape(aggregation_words(job))}. <b>Values travelled</b> {escape(form_words(job))}."
    body = [
        "<h2>What was combined, and what travelled</h2>",
        f"<p>{said}</p>",
        f'<p class="lead">{escape(counted_words(result))}</p>',
    ]
    rows = by_round(result)
    lines = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    table = f'<div class="scroll"><table><tr>{_cells("th", ROUND_HEAD)}</tr>{lines}</table></div>'
    return [*body, table] if rows else body


def _cells(tag: str, row: Sequence[str]) -> str:
    """A row's cells; the first is a name, the others are numbers."""
    first, *others = map(escape, row)
    return f"<{tag}>{first}</{tag}>" + "".join(f'<{tag} class="n">{cell}</{tag}>' for cell in others)


def _network(job: dict[str, Any]) -> str:
    """What was trained, in a few words."""
    way = "adapted" if is_adapter(job) else "its biases trained" if method_name(job) == "bitfit" else "trained whole"
    if job.get("base_model"):
        return f"on {job['base_model']['name']}, {way}"
    kinds = [name for name, said in (job.get("architecture") or {}).items() if said is not None]
    return f"with a network of kind {', '.join(kinds)}, {way}"


def _measured(result: dict[str, Any]) -> list[str]:
    """Every metric that was measured over all sites and that there is, sorted."""
    names = {name for entry in result["history"] for name in entry["before"]} | set(result["after"])
    return sorted(names & set(METRICS))


def _comparison(comparison: Comparison) -> str:
    bars = [("federated", comparison.federated, COLOURS[0])]
    if comparison.pooled is not None:
        bars.insert(0, ("pooled", comparison.pooled, COLOURS[2]))
    bars += [(f"{name} alone", accuracy, COLOURS[1]) for name, (_, accuracy) in sorted(comparison.alone.items())]
    bars.append(("before training", comparison.before, COLOURS[7]))
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
    low, high = _scale(metric, values)
    rounds = max(result["rounds"], 1)

    def at(version: int, value: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * version / rounds
        return x, _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - (value - low) / (high - low))

    parts = []
    for step in range(_STEPS + 1):
        value = low + (high - low) * step / _STEPS
        y = at(0, value)[1]
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_tick(value)}</text>')
    for version in range(0, rounds + 1, max(1, rounds // 10)):
        parts.append(f'<text x="{at(version, 0)[0]:.1f}" y="{_HEIGHT - 14}" text-anchor="middle">{version}</text>')
    ends: list[float] = []
    for index, (name, points) in enumerate(series.items()):
        parts.append(_line(name, [at(*point) for point in points], index, ends))
    best = "" if METRICS[metric].best == "maximum" else '<p class="lead">Less is better.</p>'
    return (
        f'{best}<div class="scroll"><svg role="img" aria-label="{escape(metric)} by round" width="{_WIDTH}" '
        f'height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg></div>'
    )


def _scale(metric: str, values: list[float]) -> tuple[float, float]:
    """From where to where the axis reaches: 0 to 1 for shares; else from 0, or below, to a little above the largest."""
    known = METRICS[metric]
    if (known.least, known.most) == (0.0, 1.0):
        return 0.0, 1.0
    low = min([0.0, *values])
    high = max(values, default=1.0) if known.best == "minimum" else 1.0
    return low, max(low + 1e-9, high + 0.05 * (high - low) if known.best == "minimum" else high)


def _tick(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.3g}" if abs(value) < 1e5 else f"{value:.1e}"


def _line(name: str, points: list[tuple[float, float]], index: int, ends: list[float]) -> str:
    """One series with its name at the end, moved so that names do not lie on one another."""
    colour = COLOURS[index % len(COLOURS)]
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
