# SPDX-License-Identifier: Apache-2.0
"""Where a base model's weights lie in its folder: as transformers has it, or as a MONAI bundle."""

from __future__ import annotations

from pathlib import Path

_BUNDLE = Path("models")  # https://docs.monai.io/en/stable/mb_specification.html
_WEIGHTS = "model.safetensors"


def weights_of(folder: Path) -> Path:
    """The file of weights, which is what a job pins and a policy grants; of a bundle it lies in `models/`."""
    bundled = folder / _BUNDLE / _WEIGHTS
    return bundled if bundled.is_file() and not (folder / _WEIGHTS).is_file() else folder / _WEIGHTS
