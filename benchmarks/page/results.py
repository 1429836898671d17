# SPDX-License-Identifier: Apache-2.0
"""The file that benchmarks add what they measured to, and that tables and plots are made from.

One JSON object: `null_job` with `plan` and `turns`, a turn being what each way took in it, and `upload` with `values`,
`tensors` and `rows`. Each is there once it was measured.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cloister.files import write_atomically

Results = dict[str, Any]


def read(path: Path) -> Results:
    """What the file holds; nothing where there is none."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def write(path: Path, results: Results) -> None:
    """Replace the file."""
    write_atomically(path, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())


def add_turns(path: Path, plan: dict[str, int], turns: list[dict[str, Any]]) -> None:
    """Add turns of the null job to those that the file has.

    Raises:
        SystemExit: where those are of another plan.
    """
    results = read(path)
    known = results.setdefault("null_job", {"plan": plan, "turns": []})
    if known["plan"] != plan:
        raise SystemExit(f"{path} holds turns of {known['plan']}, and these are of {plan}; name another file")
    known["turns"] += turns
    write(path, results)


def replace(path: Path, section: str, found: Any) -> None:
    """Put ``found`` in the place of a section of the file."""
    write(path, read(path) | {section: found})
