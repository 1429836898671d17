# SPDX-License-Identifier: Apache-2.0
"""A job's result as it arrives at a person's machine: which files are taken over, and where they may be put."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cloister.errors import JobError, UsageError
from cloister.files import private_folder, sha256_of, write_atomically
from cloister.jobs import Task

RESULT_FILE = "result.json"

_ADAPTER = "adapter/adapter_model.safetensors"
_ADAPTER_FILES = ("adapter/adapter_config.json", _ADAPTER)
_KEYS = frozenset({"job_id", "job", "job_sha256", "rounds", "history", "sites", "statistics", "statistics_by_site"})
_TRAINED = frozenset({"adapter_sha256", "chosen", "after", "after_by_site"})


def check_place(folder: Path) -> None:
    """See that a result may be put at ``folder``: nothing is there, or a result that was fetched before.

    Raises:
        UsageError: where something else is there.
    """
    hint = "name a folder that is not there yet"
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"`{folder}` is not a folder", hint=hint)
    if folder.exists() and any(folder.iterdir()) and not (folder / RESULT_FILE).is_file():
        raise UsageError(f"`{folder}` holds something else than a result", hint=hint)


def read_result(path: Path) -> dict[str, Any]:
    """What the server's job process wrote into `result.json`.

    Raises:
        JobError: where it is not what this version writes.
    """
    try:
        result = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise JobError("the server sent a result that cannot be read") from error
    needed = _KEYS if isinstance(result, dict) and trains_nothing(result) else _KEYS | _TRAINED
    if not isinstance(result, dict) or not result.keys() >= needed:
        raise JobError("the server sent a result that is not complete", hint="is it of the same version of `cloister`?")
    return result


def trains_nothing(result: dict[str, Any]) -> bool:
    """Whether ``result`` is of a job that describes records and trains nothing."""
    job = result.get("job")
    return isinstance(job, dict) and job.get("task") == Task.STATISTICS.value


def take_over(downloaded: Path, staged: Path, adapter_sha256: str | None) -> None:
    """Copy the files of a result that are known, readable by their owner alone.

    Args:
        downloaded: where they came.
        staged: where to.
        adapter_sha256: of the adapter; None for a result without one.

    Raises:
        JobError: where a file is missing, or the adapter is not the one that the result names.
    """
    private_folder(staged)
    names = (RESULT_FILE,) if adapter_sha256 is None else (RESULT_FILE, *_ADAPTER_FILES)
    try:
        contents = {name: (downloaded / name).read_bytes() for name in names}
    except OSError as error:
        raise JobError("the server sent a result that is not complete") from error
    if adapter_sha256 is not None and sha256_of(contents[_ADAPTER]) != adapter_sha256:
        raise JobError("the server sent an adapter that is not the one its result names")
    for name, content in contents.items():
        private_folder((staged / name).parent)
        write_atomically(staged / name, content)
