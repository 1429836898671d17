# SPDX-License-Identifier: Apache-2.0
"""A job's progress for people: a table on a terminal, lines elsewhere."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cloister.flare.grouped_reasons import grouped
from cloister.flare.job_view import JobView
from cloister.reports.factor_words import factor_words

_RUNNING = "RUNNING"
_STATES = {
    "SUBMITTED": "waiting for the sites",
    "DISPATCHED": "being admitted by the sites",
    _RUNNING: "running",
    "FINISHED:ABANDONED": "lost with its server",
}


def table_of(view: JobView, most: int | None = None) -> RenderableType:
    """The whole progress, to be drawn again and again.

    Args:
        view: what there is to draw.
        most: where there are more sites than so many, states are counted and equal reasons told together; None for a
            row for each site in any case.
    """
    progress, refusals = view.progress, [Text(line) for line in _refusals(view)]
    many = most is not None and len(progress.get("sites", ())) + len(refusals) > most
    if many:
        refusals = [Text(f"  {who}: {why}") for who, why in grouped(hindered(view))]
    if not progress:
        starting = "; its processes start …" if view.status == _RUNNING else ""
        return Group(Text(f"{view.name}: {state_of(view)}{starting}"), *refusals)
    head = Text(_head(view))
    # A bar alone does not end its line, and the table would begin beside it.
    bar = Padding(ProgressBar(total=progress["rounds"], completed=len(progress["history"]), width=60), 0, expand=False)
    if many:
        return Group(head, bar, Text(_counted(progress["sites"])), *refusals)
    table = Table("site", "state", "records", "loss", "metric", "sent", "rounds", box=None, pad_edge=False)
    for name, site in progress["sites"].items():
        table.add_row(
            name,
            _state(site),
            _text(site["training"]),
            _number(site["metrics"].get("loss")),
            _metric(site["metrics"]),
            decimal(_sent(site)),
            str(site["rounds"]),
        )
    return Group(head, bar, table, *refusals)


def _sent(site: dict[str, Any]) -> int:
    """Bytes that came from a site: at the server's socket, where they are counted there, else those of its updates."""
    return int(site["socket"]["received"] if site.get("socket") else site["bytes"])


def _counted(sites: dict[str, Any]) -> str:
    """How many sites are in which state."""
    counts = Counter(_word(site) for site in sites.values())
    return ", ".join(f"{count} {word}" for word, count in counts.most_common())


def _head(view: JobView) -> str:
    progress = view.progress
    # Between the last word of the job's process and the server's own, seconds pass in which nothing would move.
    ending = "; the server stores the result …" if progress["phase"] == "completed" and not view.finished else ""
    rounds = f"round {progress['round']} of {progress['rounds']}"
    return f"{progress['job_name']}: {progress['phase']}, {rounds}, {progress['seconds']:.0f} s{ending}"


def lines_of(view: JobView, most: int | None = None, *, hindrances: bool = True) -> list[str]:
    """What there is to say so far; each line stays the same once it can be said.

    Args:
        view: what there is to say.
        most: where there are more sites than so many, their records are not told one by one.
        hindrances: whether to tell of each site what hindered it.
    """
    lines = [] if view.finished else [f"{view.name}: {state_of(view)}"]
    lines += _refusals(view) if hindrances else []
    progress = view.progress
    if not progress:
        return lines
    for name, site in progress["sites"].items():
        if site["training"] is not None and (most is None or len(progress["sites"]) <= most):
            counts = f"{site['training']} training and {site['validation']} validation records"
            lines.append(f"  {name}: {counts}{_unsafe(site)}")
        lines += [f"  {name}: {said}" for said in _hindrances(site)] if hindrances else []
    for entry in progress["history"]:
        measured = ", ".join(f"{name} {value:.3f}" for name, value in entry["before"].items())
        loss = "" if entry["train_loss"] is None else f", training loss {entry['train_loss']:.3f}"
        sites = f"{len(entry['sites'])} of {len(progress['sites'])} sites"
        lines.append(
            f"  round {entry['round']} of {progress['rounds']}: {sites}{loss}; came in with {measured or '-'}"
            f" ({entry['seconds']:.1f} s){_factors(entry)}"
        )
    return lines


def hindered(view: JobView) -> list[tuple[str, str]]:
    """Each site that did not admit the job, refused, failed, or lost its trainer, and what is said of that."""
    refused = [(site, f"did not admit the job: {reason}") for site, reason in sorted(view.refusals.items())]
    sites = view.progress.get("sites", {})
    return refused + [(name, said) for name, site in sites.items() for said in _hindrances(site)]


def _hindrances(site: dict[str, Any]) -> list[str]:
    said = [f"{_word(site)}: {site['reason']}"] if site["reason"] else []
    died = f"its trainer died and was started again ({site['restarts']})"
    return [*said, died] if site["restarts"] else said


def _factors(entry: dict[str, Any]) -> str:
    said = factor_words(entry)
    return f"; {said}" if said else ""


def _refusals(view: JobView) -> list[str]:
    return [f"  {site} did not admit the job: {reason}" for site, reason in sorted(view.refusals.items())]


def state_of(view: JobView) -> str:
    """A job's state in words."""
    return _STATES.get(view.status, view.status.removeprefix("FINISHED:").replace("_", " ").lower())


def _word(site: dict[str, Any]) -> str:
    """A site's state in a word; a policy that says no is told from something that is broken."""
    return "denied" if site["state"] == "refused" and site.get("denied") is True else str(site["state"])


def _state(site: dict[str, Any]) -> str:
    return f"{_word(site)}: {site['reason']}" if site["reason"] else f"{site['state']}{_unsafe(site)}"


def _unsafe(site: dict[str, Any]) -> str:
    return "" if site["sandbox"] in (None, "bubblewrap") else f", sandbox: {site['sandbox']}"


def _metric(metrics: dict[str, float]) -> str:
    others = sorted(metrics.keys() - {"loss", "train_loss"})
    return f"{others[0]} {metrics[others[0]]:.3f}" if others else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _text(value: object) -> str:
    return "-" if value is None else str(value)
