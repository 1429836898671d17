# SPDX-License-Identifier: Apache-2.0
"""Which tensors a job on images exchanges: told by a sandboxed process that builds its network and sees no record.

It sees the base model, where the job has one, and runs no code of a job. What it says is untrusted all the same, since
a base model's configuration decides what it builds; but it can quote no record, so its reason for a refusal is passed
on, cut and cleaned.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from pathlib import Path
from typing import Any

from cloister.errors import SandboxError
from cloister.jobs import AdapterLayout, Job
from cloister.jobs.network_plan import NetworkPlan, network_plan_of
from cloister.sandbox.bubblewrap import command, environment, missing
from cloister.sandbox.enclosure import Enclosure, Limits, SandboxMode
from cloister.sandbox.log import Log
from cloister.sandbox.mounts import BASE_MODEL
from cloister.sandbox.process import EndedError, LateError, UntrustedProcess

LIMITS = Limits(memory_bytes=4 * 2**30, processes=64, threads=1)
"""What the process may use up: libraries take about 0.5 GiB, a base model's weights the rest."""

_SECONDS = 300.0  # a busy machine takes half a minute to import MONAI
_LENGTH = struct.Struct("<Q")
_MAXIMUM_BYTES = 8 << 20  # some 50 000 tensors
_MAXIMUM_TENSORS = 50_000
_NAME_CHARACTERS = 500
_SENTENCE_CHARACTERS = 400
_HINT = "its own words are in the site's trainer log"


def network_layout(  # noqa: PLR0913 - what the process is started with, each by its name
    job: Job,
    base_model: Path | None,
    *,
    mode: SandboxMode,
    log: Path,
    protected: tuple[Path, ...] = (),
    limits: Limits = LIMITS,
    seconds: float = _SECONDS,
) -> AdapterLayout:
    """The tensors of ``job``, a job on images.

    Args:
        job: what is trained; code that it brings is not run.
        base_model: folder of the bundle, where the job names one.
        mode: how the process is isolated.
        log: the site's own file, to which its standard error is appended.
        protected: files and folders of which nothing may be visible inside.
        limits: what it may use up.
        seconds: how long it may take.

    Raises:
        SandboxError: where it cannot be started, or tells no layout.
        JobError: where the job has no network for images.
    """
    inside = mode is SandboxMode.BUBBLEWRAP
    if inside and (sentence := missing()):
        raise SandboxError(sentence)
    folder = None if base_model is None else str(BASE_MODEL if inside else base_model.resolve())
    plan = network_plan_of(job, folder)
    enclosure = Enclosure(None, base_model, protected, limits, log)
    argv = command(enclosure, mode, [sys.executable, "-I", "-m", "cloister.training.network_layout"])
    process = UntrustedProcess(argv, {} if inside else environment(limits), limits, Log(log))
    try:
        content = _answer(process, plan, seconds)
    finally:
        process.close()
    return _layout(content)


def _answer(process: UntrustedProcess, plan: NetworkPlan, seconds: float) -> bytes:
    deadline = time.monotonic() + seconds
    try:
        process.write(plan.model_dump_json().encode() + b"\n", deadline)
        read = process.reader(deadline)
        (size,) = _LENGTH.unpack(read(_LENGTH.size))
        if size > _MAXIMUM_BYTES:
            raise SandboxError("the process that builds the job's network said more than a layout is long")
        return read(size)
    except LateError as error:
        raise SandboxError(f"the job's network was not built within {seconds:g} seconds") from error
    except EndedError as error:
        process.kill()
        reason = process.broken_limit or "ended early"
        raise SandboxError(f"the process that builds the job's network {reason}", hint=_HINT) from error


def _layout(content: bytes) -> AdapterLayout:
    try:
        answer: dict[str, Any] = json.loads(content)
        if "refused" in answer:
            raise SandboxError(_clean(answer["refused"]), hint=_clean(answer.get("hint", "")))
        layout = AdapterLayout.from_json(answer["layout"])
        names = [tensor.name for tensor in layout.tensors]
        if not names or len(names) > _MAXIMUM_TENSORS or names != sorted(set(names)):
            raise ValueError("too many tensors, none, or one twice")
        if not all(name.isascii() and name.isprintable() and 0 < len(name) <= _NAME_CHARACTERS for name in names):
            raise ValueError("a name that is none")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SandboxError("the process that builds the job's network told no layout", hint=_HINT) from error
    return layout


def _clean(text: object) -> str:
    """What the process says, on one line, without control characters."""
    letters = "".join(letter if letter.isprintable() else " " for letter in str(text)[: 4 * _SENTENCE_CHARACTERS])
    return " ".join(letters.split())[:_SENTENCE_CHARACTERS]
