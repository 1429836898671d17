# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page of a policy in words, made to be printed, signed by hand and filed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from cloister.documents import Document
from cloister.files import sha256_of
from cloister.policies import Policy
from cloister.reports.policy_floor import tightened
from cloister.reports.policy_words import passages, silences

_STYLE = """
:root{--ink:#1b2430;--soft:#566372;--line:#d9dfe6}
*{box-sizing:border-box}
body{margin:0 auto;max-width:46em;padding:2.5em 1.5em 4em;font:16px/1.55 Georgia,"Times New Roman",serif;
color:var(--ink);background:#fff}
h1{font-size:1.7em;margin:0 0 .2em}h2{font-size:1.1em;margin:1.8em 0 .4em;border-bottom:1px solid var(--line);
padding-bottom:.2em;break-after:avoid}
h2 small{float:right;color:var(--soft);font:.75em ui-monospace,monospace}
p.lead{color:var(--soft);margin:0 0 1.5em}
ul{margin:.3em 0;padding-left:1.2em}li{margin:.25em 0;break-inside:avoid}
code{font:.86em ui-monospace,monospace;background:#f2f4f7;padding:.05em .25em;border-radius:3px;overflow-wrap:anywhere}
footer{margin-top:3em;color:var(--soft);font-size:.85em;border-top:1px solid var(--line);padding-top:.6em}
@page{size:A4;margin:20mm 18mm}
@media print{body{max-width:none;padding:0;font-size:11pt}code{background:none;padding:0}}
"""

_QUOTED = re.compile(r"`([^`]*)`")


def policy_page(document: Document[Policy], baseline: Document[Policy]) -> str:
    """The page of ``document``, over ``baseline``; of the baseline itself where both are it."""
    policy = document.value
    body = [f"<h1>Policy: {escape(policy.policy)}</h1>"]
    body.append(f'<p class="lead">Version {policy.version}, in plain words. What counts is the file itself.</p>')
    for passage in passages(policy):
        body.append(_section(passage.title, passage.sentences, document.source.at(passage.key)))
    if floor := tightened(policy, baseline.value):
        body.append(_section("What the baseline tightens", floor, baseline.source.file))
    if silent := silences(policy):
        title = "What it leaves to the sites" if policy.is_baseline else "Denied, because it is not written"
        body.append(_section(title, silent, document.source.file))
    file, digest = escape(document.source.file), sha256_of(document.text)
    body.append(f"<footer>From <code>{file}</code>, SHA-256 <code>{digest}</code></footer>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(policy.policy)}: policy</title>"
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _section(title: str, sentences: Iterable[str], place: str) -> str:
    items = "".join(f"<li>{_sentence(sentence)}</li>" for sentence in sentences)
    return f"<section><h2><small>{escape(place)}</small>{escape(title)}</h2><ul>{items}</ul></section>"


def _sentence(text: str) -> str:
    return _QUOTED.sub(r"<code>\1</code>", escape(text))
