# SPDX-License-Identifier: Apache-2.0
"""What a trainer may see and use up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class SandboxMode(StrEnum):
    """How the trainer is isolated."""

    BUBBLEWRAP = "bubblewrap"
    UNSAFE_NONE = "unsafe-none"  # an ordinary process with the site's own rights; for trying things out only


@dataclass(frozen=True)
class Limits:
    """The most that one trainer may use.

    Attributes:
        memory_bytes: resident memory of all its processes together, bytes.
        processes: processes and threads that may exist at once, counted together.
        threads: CPU threads that numerical libraries are told to use.
    """

    memory_bytes: int
    processes: int
    threads: int


@dataclass(frozen=True)
class Enclosure:
    """What one trainer may see.

    Attributes:
        view: folder with the governed view; `/view` inside. None where no record is to be seen.
        base_model: folder with the base model; its known files appear under `/base-model` inside, others do not. None
            where nothing but what the job declares is trained.
        protected: files and folders of which nothing may be visible inside, beyond view and base model.
        limits: what it may use up.
        log: the site's own file, mode 0600, to which the trainer's standard error is appended.
        code: folder with the job's own training code, `/code` inside; None for the built-in trainer.
    """

    view: Path | None
    base_model: Path | None
    protected: tuple[Path, ...]
    limits: Limits
    log: Path
    code: Path | None = None
