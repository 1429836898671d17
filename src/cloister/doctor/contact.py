# SPDX-License-Identifier: Apache-2.0
"""When a running site last heard of the server."""

from __future__ import annotations

from datetime import datetime, timedelta

from cloister.doctor import spans
from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order
from cloister.flare.last_contact import LastContact

_SILENCE = timedelta(minutes=5)


def judge_contact(last: LastContact, now: datetime, *, runs: bool) -> Finding:
    """Whether a site's last word with the server is as fresh as it should be (pure).

    Args:
        last: what the site wrote down.
        now: aware time.
        runs: whether the site is known to run.
    """
    ago = f"{spans.said(now - last.at)} ago"
    if runs and now - last.at > _SILENCE:
        message = f"the site runs, and last spoke with the server's mailbox {ago}"
        return Finding("D0317", message, "see what is told of name, port and TLS; else the site's log")
    return in_order(Topic.TLS, f"the site last spoke with the server's mailbox {ago}")
