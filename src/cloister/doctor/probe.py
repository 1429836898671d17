# SPDX-License-Identifier: Apache-2.0
"""A probe: one look at the outside, within a time limit. However it ends, a finding comes of it.

1. A probe that throws, takes too long or says nothing is told as not checked, which is a problem and never in order.
2. What a library says is dropped, not passed on, but for the words of the operating system: it may quote what it read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, unchecked
from cloister.errors import CloisterError

SECONDS = 5.0
"""How long a probe may take, where it does not say otherwise."""


@dataclass(frozen=True)
class Probe:
    """One look.

    Attributes:
        topic: what it is about.
        title: what is looked at, for people who wait, such as `base model medgemma`.
        look: looks; called once.
        seconds: how long it may take.
    """

    topic: Topic
    title: str
    look: Callable[[], Iterable[Finding]]
    seconds: float = SECONDS


def findings_of(probe: Probe) -> tuple[Finding, ...]:
    """What came of ``probe``; at least one finding, whatever happens in it."""
    done: list[tuple[Finding, ...]] = []

    def run() -> None:
        try:
            done.append(tuple(probe.look()))
        except Exception as error:  # noqa: BLE001 - a gate: what could not be looked at must not pass for in order
            done.append((_thrown(probe, error),))

    # A thread that waits for the system, say for a name server, cannot be ended; it must not hold the command up.
    thread = threading.Thread(target=run, daemon=True, name=f"doctor: {probe.title}")
    thread.start()
    thread.join(probe.seconds)
    if not done:
        return (unchecked(probe.topic, probe.title, f"it took longer than {probe.seconds:.0f} s"),)
    return done[0] or (unchecked(probe.topic, probe.title, "the check came to no result"),)


def _thrown(probe: Probe, error: Exception) -> Finding:
    if isinstance(error, CloisterError):
        return unchecked(probe.topic, probe.title, error.message, error.hint)
    if isinstance(error, OSError):
        place = f"`{error.filename}`: " if error.filename else ""
        return unchecked(probe.topic, probe.title, f"{place}{(error.strerror or type(error).__name__).lower()}")
    return unchecked(
        probe.topic, probe.title, "the check itself failed", f"report this as a defect: {type(error).__name__}"
    )
