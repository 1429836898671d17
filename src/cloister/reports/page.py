# SPDX-License-Identifier: Apache-2.0
"""What the pages of a result share: their looks, in daylight and in the dark, their colours, and their frame."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

# Colours that keep apart for colour-blind readers (Okabe and Ito, https://jfly.uni-koeln.de/color/).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f")

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


def page(title: str, body: Iterable[str], style: str = "") -> str:
    """A whole page that fetches nothing.

    Args:
        title: plain text.
        body: HTML.
        style: CSS besides what all pages have.
    """
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}{style}</style></head>'
        f"<body>{''.join(body)}</body></html>\n"
    )


def figures(told: Iterable[tuple[str, str]]) -> str:
    """Numbers that are seen first: value and what it is."""
    boxes = (f'<div class="figure"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in told)
    return f'<div class="figures">{"".join(boxes)}</div>'
