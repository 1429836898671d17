# SPDX-License-Identifier: Apache-2.0
"""How hard the tests try: `make unit` draws few examples of each property, `make test` many."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("quick", max_examples=10, deadline=None)
settings.register_profile("thorough", max_examples=200, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what imports torch, transformers and peft when slow tests are not asked for: that takes seconds."""
    if "not slow" in config.option.markexpr and collection_path.match("tests/training"):
        return True
    return None
