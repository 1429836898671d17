# SPDX-License-Identifier: Apache-2.0
"""How hard the tests try: `make unit` draws few examples of each property, `make test` many."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from cloister.certificates import passphrase

settings.register_profile("quick", max_examples=10, deadline=None)
settings.register_profile("thorough", max_examples=200, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True)
def no_passphrase_is_left() -> Iterator[None]:
    """Forget what a command that ran in this process kept: later tests would encrypt their keys with it."""
    yield
    passphrase.forget()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what imports torch, transformers and peft when slow tests are not asked for: that takes seconds."""
    if "not slow" in config.option.markexpr and collection_path.match("tests/training"):
        return True
    return None
