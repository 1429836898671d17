# SPDX-License-Identifier: Apache-2.0
"""Real sandboxes around small programs that try to break out of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from cloister.jobs import DatasetRef, Lora, Method, Task, Training
from cloister.messages import Setup
from cloister.sandbox import Enclosure, Limits, SandboxMode, Trainer, command, missing
from cloister.sandbox.bubblewrap import environment
from cloister.sandbox.usage import tree
from cloister.silos import ColumnKind

Make = Callable[..., Trainer]

# Frames by hand: importing `cloister.messages` in every probe would take most of the tests' time.
SPEAK = """
import json, os, struct, sys, time
HEAD = struct.Struct("<4sQQ")
READY = {"kind": "ready"}
DONE = {"kind": "done", "metrics": {"loss": 0.5}, "records": 3}
def receive():
    head = sys.stdin.buffer.read(HEAD.size)
    if len(head) < HEAD.size:
        sys.exit(0)
    _, text, blob = HEAD.unpack(head)
    return json.loads(sys.stdin.buffer.read(text)), sys.stdin.buffer.read(blob)
def send(message, blob=b""):
    text = json.dumps(message).encode()
    sys.stdout.buffer.write(HEAD.pack(b"CLS1", len(text), len(blob)) + text + blob)
    sys.stdout.buffer.flush()
setup, _ = receive()
"""


def speaking(code: str) -> list[str]:
    """A trainer that runs ``code`` after it has read the setup."""
    return [sys.executable, "-I", "-S", "-c", SPEAK + code]


@dataclass(frozen=True)
class Inside:
    """Runs Python code inside an enclosure."""

    enclosure: Enclosure

    def __call__(self, code: str, mode: SandboxMode = SandboxMode.BUBBLEWRAP) -> str:
        argv = command(self.enclosure, mode, [sys.executable, "-I", "-S", "-c", code])
        variables = {} if mode is SandboxMode.BUBBLEWRAP else environment(self.enclosure.limits)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=variables, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="session")
def bubblewrap() -> None:
    """Fails, rather than skips, where there is no sandbox: these tests are the proof that it holds."""
    if sentence := missing():
        if os.environ.get("CLOISTER_WITHOUT_SANDBOX") == "1":
            pytest.skip(sentence)
        pytest.fail(f"{sentence}; set CLOISTER_WITHOUT_SANDBOX=1 to skip these tests")


@pytest.fixture
def enclosure(tmp_path: Path) -> Enclosure:
    view, base_model, state = tmp_path / "state" / "view", tmp_path / "models" / "base", tmp_path / "state"
    view.mkdir(parents=True)
    base_model.mkdir(parents=True)
    (view / "train.parquet").write_bytes(b"records")
    for name in ("config.json", "model.safetensors", "modeling.py", "pytorch_model.bin"):
        (base_model / name).write_bytes(b"weights")
    (state / "client.key").write_text("-----BEGIN PRIVATE KEY-----")
    (state / "client.key").chmod(0o600)
    limits = Limits(memory_bytes=2 * 2**30, processes=64, threads=1)
    return Enclosure(view, base_model, (state,), limits, tmp_path / "trainer.log")


@pytest.fixture
def inside(enclosure: Enclosure, bubblewrap: None) -> Inside:
    return Inside(enclosure)


@pytest.fixture
def setup_message() -> Setup:
    return Setup(
        view="",
        base_model="",
        task=Task.TEXT_CLASSIFICATION,
        dataset=DatasetRef(name="notes", text="text", label="label", labels=("no", "yes")),
        columns={"text": ColumnKind.TEXT, "label": ColumnKind.CATEGORY},
        method=Method(lora=Lora(rank=2, alpha=4, targets=("query",))),
        rounds=2,
        training=Training(steps=1, batch_size=1, learning_rate=0.001),
        shapes={"a": (1,)},
        head_modules=("classifier",),
        threads=1,
    )


@pytest.fixture(params=[SandboxMode.BUBBLEWRAP, SandboxMode.UNSAFE_NONE])
def mode(request: pytest.FixtureRequest) -> SandboxMode:
    if request.param is SandboxMode.BUBBLEWRAP:
        request.getfixturevalue("bubblewrap")
    return SandboxMode(request.param)


@pytest.fixture
def trainer(enclosure: Enclosure, setup_message: Setup, mode: SandboxMode) -> Iterator[Make]:
    made: list[Trainer] = []

    def make(code: str, **changes: Any) -> Trainer:
        changed = replace(enclosure, limits=changes.pop("limits", enclosure.limits))
        one = Trainer(changed, setup_message, mode=mode, maximum_blob_bytes=10**6, argv=speaking(code), **changes)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def innermost(one: Trainer) -> int:
    assert one.pid is not None
    return tree(one.pid)[-1]


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 5
    while any(runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(runs(pid) for pid in pids)


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
