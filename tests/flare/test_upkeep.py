# SPDX-License-Identifier: Apache-2.0
"""A process whose upkeep cannot begin ends; what upkeep does is in `test_mailbox` and `test_running_trust`."""

from __future__ import annotations

import os
import signal

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_context import FLContext

from cloister.flare.upkeep import ServerUpkeep, SiteUpkeep


@pytest.mark.parametrize(
    ("component", "event"), [(SiteUpkeep, EventType.SYSTEM_BOOTSTRAP), (ServerUpkeep, EventType.SYSTEM_START)]
)
def test_a_process_that_nothing_would_look_after_ends(
    component: type[SiteUpkeep] | type[ServerUpkeep], event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *signalled: asked.append(signalled))
    component().handle_event(EventType.ABOUT_TO_START_RUN, FLContext())
    assert asked == []
    component().handle_event(event, FLContext())  # a context without engine and workspace
    assert asked == [(os.getpid(), signal.SIGTERM)]
