# SPDX-License-Identifier: Apache-2.0
"""What a process says of connections that do not count: in its log and in its audit log, each sentence now and then.

Somebody who is refused tries again within seconds, for as long as their process runs.
"""

from __future__ import annotations

import logging
import re
import threading
import time

from cloister.audit import Log
from cloister.flare.audit_log import record_failure

POINT = "connection"
"""What an audit log says of where a certificate was refused."""

_SAY_AGAIN_SECONDS = 60.0
_RECORD_AGAIN_SECONDS = 3600.0
_MOST_REASONS = 1000

# Some sentences say what time it is, and are the same sentence all the same.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?")

_log = logging.getLogger(__name__)


class Complaints:
    """Those of one process.

    Args:
        log: the participant's audit log.
    """

    def __init__(self, log: Log) -> None:
        self._audit = log
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}
        self._recorded: dict[str, float] = {}

    def note(self, sentence: str) -> None:
        """Log ``sentence``, once a minute at most."""
        with self._lock:
            due = _due(self._said, sentence, _SAY_AGAIN_SECONDS)
        if due:
            _log.error("%s", sentence)

    def say(self, sentence: str) -> None:
        """Log ``sentence``, and record it, once an hour at most."""
        self.note(sentence)
        with self._lock:
            due = _due(self._recorded, sentence, _RECORD_AGAIN_SECONDS)
        if due:
            record_failure(self._audit, POINT, sentence, job="")

    def refused(self, peer: str, reason: str) -> None:
        """Say that a connection from ``peer`` was refused; the port, new with each, is left out."""
        self.say(f"refused a connection from {peer.rpartition(':')[0]}: {reason}")


def _due(last: dict[str, float], sentence: str, seconds: float) -> bool:
    now, sentence = time.monotonic(), _MOMENT.sub("", sentence)
    if sentence in last and now - last[sentence] < seconds:
        return False
    if len(last) >= _MOST_REASONS:
        last.clear()
    last[sentence] = now
    return True
