# SPDX-License-Identifier: Apache-2.0
"""What one site contributes to one round."""

from __future__ import annotations

from dataclasses import dataclass

from cloister.vectors import Source


@dataclass(frozen=True)
class Contribution:
    """One site's update.

    Attributes:
        site: who sent it.
        weight: training records behind it, above 0.
        update: its values.
    """

    site: str
    weight: float
    update: Source
