# SPDX-License-Identifier: Apache-2.0
"""Accuracy against bytes as inline SVG: a point for each method, one standard deviation up and down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from cloister.reports.page import COLOURS

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 860, 420, 60, 30, 16, 44
_LINE = 15


@dataclass(frozen=True)
class Point:
    """One method.

    Attributes:
        name: of it.
        bytes: that one site sends in one round, above 0.
        mean: accuracy over the seeds, from 0 to 1.
        deviation: of it, over the seeds.
    """

    name: str
    bytes: float
    mean: float
    deviation: float


def point_chart(title: str, points: Sequence[Point], level: tuple[str, float] | None = None) -> str:
    """The drawing: bytes to the right, each tenfold the same space; accuracy upwards.

    Args:
        title: read aloud in its place.
        points: one or more.
        level: name and accuracy of what sends nothing, drawn as a line across.
    """
    low, high = (math.log10(end(point.bytes for point in points)) for end in (min, max))
    left, right = math.floor(low - 0.1), math.ceil(high + 0.1)
    ends = [point.mean + sign * point.deviation for point in points for sign in (-1, 1)]
    ends += [level[1]] if level else []
    bottom, top = math.floor(20 * min(ends)) / 20, math.ceil(20 * max(ends) + 1e-9) / 20

    def at(size: float, accuracy: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log10(size) - left) / (right - left)
        return x, _TOP + (_HEIGHT - _TOP - _BOTTOM) * (top - accuracy) / (top - bottom)

    parts = []
    floor = _HEIGHT - _BOTTOM
    for power in range(left, right + 1):
        x = at(10.0**power, bottom)[0]
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{floor}"/>')
        parts.append(f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{10**power:,}</text>')
    for step in range(round((top - bottom) * 20) + 1):
        y = at(10.0**left, bottom + step / 20)[1]
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{bottom + step / 20:.2f}</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 8}" text-anchor="end">bytes per site and round</text>')
    if level:
        y = at(10.0**left, level[1])[1]
        parts.append(f'<line class="goal" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT + 6}" y="{y - 6:.1f}">{escape(level[0])} {level[1]:.3f}</text>')
    names: list[tuple[float, float, float]] = []
    for point in sorted(points, key=lambda each: -each.mean):
        x, y = at(point.bytes, point.mean)
        upper, lower = (at(point.bytes, point.mean + sign * point.deviation)[1] for sign in (1, -1))
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{upper:.1f}" y2="{lower:.1f}" stroke="{COLOURS[0]}"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{COLOURS[0]}"/>')
        parts.append(_named(point, x, y, names))
    return (
        f'<div class="scroll"><svg role="img" aria-label="{escape(title)}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg></div>'
    )


def _named(point: Point, x: float, y: float, names: list[tuple[float, float, float]]) -> str:
    """The name beside its point, moved down until it lies on no other one."""
    said = f"{point.name} {point.mean:.3f}"
    wide = 6.6 * len(said)
    begin = x + 10 if x + 10 + wide < _WIDTH else x - 10 - wide
    while any(begin < end and start < begin + wide and abs(y - line) < _LINE for start, end, line in names):
        y += 3
    names.append((begin, begin + wide, y))
    return f'<text x="{begin:.1f}" y="{y + 4:.1f}">{escape(said)}</text>'
