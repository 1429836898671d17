# SPDX-License-Identifier: Apache-2.0
"""The table of sites on a result's page, and the warning where one of them trained without isolation."""

from __future__ import annotations

from html import escape
from typing import Any

from cloister.reports.isolation import without_isolation
from cloister.reports.travelled import of_site


def unsafe_warning(result: dict[str, Any]) -> list[str]:
    """A paragraph that names the sites that trained without isolation; empty where none did."""
    names = ", ".join(map(escape, without_isolation(result)))
    return [f'<p class="warning">Trained without isolation (sandbox: unsafe-none) at {names}.</p>'] if names else []


def site_table(sites: dict[str, Any]) -> str:
    """Every site with its records, rounds, bytes up and down, policy and what hindered it.

    Args:
        sites: `sites` of a job's `result.json`.
    """
    rows = []
    for name, site in sorted(sites.items()):
        cells = [site["training"], site["validation"], site["rounds"], site["restarts"]]
        numbers = "".join(f'<td class="n">{"-" if cell is None else escape(str(cell))}</td>' for cell in cells)
        numbers += "".join(f'<td class="n">{said}</td>' for said in of_site(site))
        note = escape(site["reason"] or "")
        policy = f"<code>{escape(site['policy'][:16])}</code>" if site["policy"] else "-"
        rows.append(
            f"<tr><td>{escape(name)}</td>{numbers}<td>{escape(site['sandbox'] or '-')}</td>"
            f"<td>{policy}</td><td>{note}</td></tr>"
        )
    return (
        '<div class="scroll"><table><tr><th>site</th><th class="n">training</th><th class="n">validation</th>'
        '<th class="n">rounds</th><th class="n">restarts</th><th class="n">up</th><th class="n">down</th>'
        "<th>sandbox</th><th>policy digest</th><th>note</th></tr>"
        f"{''.join(rows)}</table></div>"
    )
