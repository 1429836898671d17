# SPDX-License-Identifier: Apache-2.0
"""What a site tells the server where a task was not done: a sentence of Cloister's own, whatever went wrong."""

from __future__ import annotations

import logging

from cloister.errors import CloisterError, DeniedError, EgressError, SandboxError, TrainerError
from cloister.flare.exchange import Refusal, TaskName
from cloister.flare.reason import reason_of

_log = logging.getLogger(__name__)

TRAINER_FAILED = "the trainer failed; the site's administrator finds the reason in the site's log"


def refusal_of(error: Exception, task_name: str) -> Refusal:
    """The refusal of the task ``task_name``, over which ``error`` was raised; the error goes into the process's log."""
    if isinstance(error, CloisterError):
        _log.warning("task `%s` refused: %s", task_name, error)
        # A gate that found no proper update says that something is broken; only a policy denies.
        denied = isinstance(error, DeniedError) and not isinstance(error, EgressError)
        return Refusal(denied=denied, reason=_told(error, task_name))
    _log.error("task `%s` failed", task_name, exc_info=error)
    reason = "the site's job process failed; its administrator finds the reason in the site's log"
    return Refusal(denied=False, reason=reason)


def _told(error: CloisterError, task_name: str) -> str:
    """What leaves the site of an error: one sentence for all that a trainer can do, so that none is its choice.

    A sandbox that cannot be made before there is a trainer is the site's own matter, and is told.
    """
    chosen = TrainerError if task_name in (TaskName.PREPARE, TaskName.SETTLE) else (TrainerError, SandboxError)
    return TRAINER_FAILED if isinstance(error, chosen) else reason_of(error)
