# SPDX-License-Identifier: Apache-2.0
"""The server's process of a job that offers something to alpha, over a wire in memory."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cloister.flare import fetch
from cloister.flare.fetch import Fetch
from cloister.flare.holder import Holder
from cloister.flare.parcel import Reference
from tests.flare.cells import SERVER, Wire, process_of

ALPHA = process_of("alpha")
MESSAGE = b'{"round":1}'


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    monkeypatch.setattr(fetch, "_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(fetch, "_AGAIN_SECONDS_AT_MOST", 0.02)
    return Wire()


@pytest.fixture
def holder(wire: Wire) -> Holder:
    made = Holder(wire.cell(SERVER))
    made.open()
    return made


def fetched(wire: Wire, into: Path, reference: Reference, process: str = ALPHA, seconds: float = 10.0) -> Path:
    return Fetch(wire.cell(process), SERVER, time.monotonic() + seconds).into(into, MESSAGE, reference)
