# SPDX-License-Identifier: Apache-2.0
"""What somebody decides about a project file beforehand: other names, and other roles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloister.roster import Role


@dataclass(frozen=True)
class Choices:
    """Decisions by the name that a participant has in the project file.

    Attributes:
        names: what they are to be called here.
        roles: what people are to be here.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
