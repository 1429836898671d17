# SPDX-License-Identifier: Apache-2.0
"""The one list of attempts, by which docs/threat-model.md and the tests are both checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.redteam.scene import Scene

Try = Callable[["Scene"], list[str]]


@dataclass
class Tries:
    """How each attempt of a module is made; what it returns is everything that server or submitter are told."""

    by_name: dict[str, Any] = field(default_factory=dict)

    def __call__(self, name: str) -> Callable[[Any], Any]:
        """Register a function as the way in which the attempt ``name`` is made."""

        def register(function: Any) -> Any:
            assert name not in self.by_name, name
            self.by_name[name] = function
            return function

        return register
