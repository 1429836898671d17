# SPDX-License-Identifier: Apache-2.0
"""What some sites of a job are asked in one go."""

from __future__ import annotations

from dataclasses import dataclass

from cloister.flare.exchange import Ask
from cloister.flare.payload import Payload


@dataclass(frozen=True)
class Task:
    """What some sites are asked in one go.

    Attributes:
        sites: who is asked, sorted.
        ask: what.
        payload: encoded weights, as ``ask`` says; empty where there are none.
    """

    sites: tuple[str, ...]
    ask: Ask
    payload: Payload = b""
