# SPDX-License-Identifier: Apache-2.0
"""Patterns in words: what a text must look like, for people who do not read regular expressions."""

from __future__ import annotations

_WORDS: dict[str, str] = {}


def in_words(pattern: str, words: str) -> str:
    """``pattern`` as it is, for which mistakes in documents will say ``words``: "must be …"."""
    _WORDS[pattern] = words
    return pattern


def words_of(pattern: str) -> str:
    """What a text must be that fits ``pattern``; the pattern itself where nobody gave words for it."""
    return _WORDS.get(pattern, f"text that matches the pattern {pattern}")
