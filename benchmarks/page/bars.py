# SPDX-License-Identifier: Apache-2.0
"""Horizontal bars as inline SVG: a median, what it ranged over, and the number beside it; one colour for Cloister."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from cloister.reports.page import COLOURS

_WIDTH, _RIGHT, _ROW, _TOP, _BOTTOM = 860, 100, 30, 8, 26
_LETTER, _WIDEST = 7.6, 430.0
_OURS, _OTHERS = COLOURS[0], COLOURS[7]


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        name: of what was measured.
        value: the median, above 0.
        said: the number as the table has it.
        spread: least and most, where there were several.
        ours: whether it is Cloister's.
    """

    name: str
    value: float
    said: str
    spread: tuple[float, float] | None = None
    ours: bool = False


def bar_chart(title: str, bars: Sequence[Bar], *, logarithmic: bool = False, goal: float | None = None) -> str:
    """The drawing.

    Args:
        title: read aloud in its place.
        bars: from top to bottom.
        logarithmic: whether each tenfold takes the same space; then there are points, since bars would begin nowhere.
        goal: where a line is drawn, if anywhere.
    """
    seen = [end for bar in bars for end in (bar.value, *(bar.spread or ()))] + ([goal] if goal else [])
    left = min(_WIDEST, _LETTER * max(len(bar.name) for bar in bars) + 16)
    share, ticks = _logarithmic(seen) if logarithmic else _linear(seen)

    def across(value: float) -> float:
        return left + (_WIDTH - left - _RIGHT) * share(value)

    floor = _TOP + _ROW * len(bars)
    parts = []
    for tick in ticks:
        x = across(tick)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{floor}"/>')
        parts.append(f'<text x="{x:.1f}" y="{floor + 16}" text-anchor="middle">{_number(tick)}</text>')
    if goal is not None:
        x = across(goal)
        parts.append(f'<line class="goal" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{floor}"/>')
    for index, bar in enumerate(bars):
        parts.append(_drawn(bar, _TOP + _ROW * index, left, across, pointed=logarithmic))
    height = floor + _BOTTOM
    return (
        f'<div class="scroll"><svg role="img" aria-label="{escape(title)}" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}">{"".join(parts)}</svg></div>'
    )


def _drawn(bar: Bar, top: float, left: float, across: Callable[[float], float], *, pointed: bool) -> str:
    middle, end = top + _ROW / 2, across(bar.value)
    colour, weight = (_OURS, ' class="ours"') if bar.ours else (_OTHERS, "")
    parts = [f'<text{weight} x="{left - 10:.1f}" y="{middle + 4}" text-anchor="end">{escape(bar.name)}</text>']
    last = end
    if not pointed:
        parts.append(
            f'<rect x="{left:.1f}" y="{top + 6}" width="{max(1.0, end - left):.1f}" height="{_ROW - 12}" rx="2" '
            f'fill="{colour}"/>'
        )
    if bar.spread is not None:
        least, most = (across(value) for value in bar.spread)
        last = max(end, most)
        parts.append(
            f'<path class="spread" d="M{least:.1f} {middle}H{most:.1f}M{least:.1f} {middle - 5}v10'
            f'M{most:.1f} {middle - 5}v10"/>'
        )
    if pointed:
        last += 4
        parts.append(f'<circle cx="{end:.1f}" cy="{middle}" r="6" fill="{colour}"/>')
    parts.append(f'<text{weight} x="{last + 8:.1f}" y="{middle + 4}">{escape(bar.said)}</text>')
    return "".join(parts)


def _linear(seen: Sequence[float]) -> tuple[Callable[[float], float], list[float]]:
    step = 10 ** math.floor(math.log10(max(seen)))
    step = next(step * part for part in (0.2, 0.5, 1.0, 2.0) if max(seen) / (step * part) <= 6.5)
    ticks = [step * count for count in range(math.ceil(max(seen) / step) + 1)]
    return lambda value: value / ticks[-1], ticks


def _logarithmic(seen: Sequence[float]) -> tuple[Callable[[float], float], list[float]]:
    low = math.floor(math.log10(min(seen)))
    high = max(low + 1, math.ceil(math.log10(max(seen))))
    return lambda value: (math.log10(value) - low) / (high - low), [10.0**power for power in range(low, high + 1)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"
