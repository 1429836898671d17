# SPDX-License-Identifier: Apache-2.0
"""Weights of earlier rounds that nobody reads any more: the next ones are written over them.

See `cloister.files.writing` for why. A file that has another name as well, as the best weights so far do until others
measure better, is no use meanwhile, so that two are kept in a folder.
"""

from __future__ import annotations

from pathlib import Path

_PREFIX = "spare-"
_MOST = 2


def spare_in(folder: Path) -> Path | None:
    """The oldest in ``folder`` that has no other name; None where there is none."""
    return next((path for path in _spares(folder) if path.stat().st_nlink == 1), None)


def set_aside(path: Path) -> None:
    """Have the file at ``path``, whose name ends with its version, become one; of too many the oldest is removed."""
    path.replace(path.with_name(_PREFIX + path.name))
    for old in _spares(path.parent)[:-_MOST]:
        old.unlink()


def forget_spares(folder: Path) -> None:
    """Remove those in ``folder``."""
    for path in _spares(folder):
        path.unlink()


def _spares(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_PREFIX}*"))
