# SPDX-License-Identifier: Apache-2.0
"""The table of one round's upload: bytes, and how many times fewer than NVFlare's."""

from __future__ import annotations

from typing import Any


def upload_table(found: dict[str, Any]) -> str:
    """Markdown; below it why a filter did not run as it is.

    Args:
        found: the section `upload` of the results; its first row is what the others are compared with.
    """
    plain = found["rows"][0]["bytes"]
    rows = ["| | bytes | times fewer than NVFlare's | about tensors, bytes per tensor |", "|---|---|---|---|"]
    reasons: dict[str, list[str]] = {}
    for row in found["rows"]:
        mark = " (did not run)" if "error" in row else ""
        about = f"{row['about']:.1f}" if "about" in row else ""
        rows.append(f"| {row['name']}{mark} | {row['bytes']:,} | {plain / row['bytes']:.1f} | {about} |")
        if "error" in row:
            reasons.setdefault(row["error"], []).append(row["name"].removeprefix("NVFlare 2.9, filter "))
    said = [
        f"{', '.join(f'`{name}`' for name in names)} did not run on this machine: `{error}`. The bytes are "
        f"those without the step onto a GPU."
        for error, names in reasons.items()
    ]
    return "\n".join(rows + (["", *said] if said else []))
