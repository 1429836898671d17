# SPDX-License-Identifier: Apache-2.0
"""What passes between a site and its trainer as arrays in memory, for tests whose tensors are small."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from cloister.adapter_file import AdapterFile
from cloister.egress import write_adapter
from cloister.flare.trainer_blob import Kept, split
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import Arrays
from cloister.jobs.kept_tensors import KEPT


@dataclass(frozen=True)
class Apart:
    """What a trainer gave back: by the names in the exchanged layout, and by those in the kept one."""

    exchanged: Arrays
    kept: Arrays


def joined(exchanged: Arrays, kept: Arrays) -> bytes:
    """The blob of a request."""
    return write_adapter(exchanged | {KEPT + name: array for name, array in kept.items()})


def apart(blob: bytes, exchanged: AdapterLayout, kept: AdapterLayout) -> Apart:
    """What a site reads of a trainer's ``blob``."""
    with tempfile.TemporaryDirectory() as folder:
        found = split(_written(Path(folder), blob), exchanged, kept)
        parts = ((exchanged, ""), (kept, KEPT))
        return Apart(*(Kept(layout, found.part(layout, mark)).arrays() for layout, mark in parts))


def read_adapter(blob: bytes, layout: AdapterLayout) -> Arrays:
    """What is in a file that holds ``blob``, if it may be read."""
    with tempfile.TemporaryDirectory() as folder:
        found = AdapterFile.open(_written(Path(folder), blob), layout)
        return Kept(layout, found.part(layout)).arrays()


def difference(trained: Arrays, received: Arrays) -> Arrays:
    """What training added to what came from the server."""
    return {name: trained[name] - received[name] for name in sorted(received)}


def _written(folder: Path, blob: bytes) -> Path:
    path = folder / "answer"
    path.write_bytes(blob)
    return path
