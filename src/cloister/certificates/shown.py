# SPDX-License-Identifier: Apache-2.0
"""A stranger's words as a terminal can show them."""

from __future__ import annotations


def shown(text: str, most: int = 80) -> str:
    """``text`` in at most ``most`` characters of ASCII.

    What is not ASCII is written as its code: names in rosters are ASCII, so a letter that only looks like one of theirs
    must not look like it here. Backticks go, since they stand around what somebody wrote.
    """
    plain = text if text.isascii() and text.isprintable() else ascii(text)[1:-1]
    plain = plain.replace("`", "'")
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
