# SPDX-License-Identifier: Apache-2.0
"""How a silo document writes a path."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

PathText = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A path, relative to the federation's folder or absolute."""
