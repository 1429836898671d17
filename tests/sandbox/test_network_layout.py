# SPDX-License-Identifier: Apache-2.0
"""Networks that real sandboxes build, and what becomes of processes that say something else."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import SandboxError
from cloister.jobs import Job, initial_adapter
from cloister.sandbox import Limits, SandboxMode, network_layout
from cloister.sandbox import network_layout as _exported
from tests.training.pictures import CLASSIFIER, DECLARED, VIT, job_of, layout, write_bundle, write_configuration

module = sys.modules[_exported.__module__]

LORA = {"lora": {"rank": 2, "alpha": 4, "targets": ["qkv"]}}
ON_BUNDLE = job_of("image-classification", {}, (16, 16), method=LORA)


def told(job: Job, folder: Path, base_model: Path | None = None, **more: Any) -> Any:
    mode = more.pop("mode", SandboxMode.BUBBLEWRAP)
    return network_layout(job, base_model, mode=mode, log=folder / "trainer.log", **more)


def saying(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let another program stand in the place of the one that builds the network."""
    original = module.command

    def command(enclosure: Any, mode: Any, argv: list[str]) -> list[str]:
        return original(enclosure, mode, [sys.executable, "-I", "-S", "-c", code])

    monkeypatch.setattr(module, "command", command)


def answering(content: bytes) -> str:
    frame = struct.pack("<Q", len(content)) + content
    return f"import sys; sys.stdin.readline(); sys.stdout.buffer.write({frame!r})"


@pytest.mark.slow
@pytest.mark.parametrize("name", DECLARED)
def test_tells_what_the_trainer_exchanges(bubblewrap: None, tmp_path: Path, name: str) -> None:
    found = told(DECLARED[name], tmp_path)
    assert found == layout(DECLARED[name])
    first = initial_adapter(found, 3)
    assert all(value.any() for key, value in first.items() if key.endswith("weight") and value.ndim > 1)


@pytest.mark.slow
@pytest.mark.parametrize("mode", SandboxMode)
def test_sees_a_bundle_and_no_other_file_of_it(bubblewrap: None, tmp_path: Path, mode: SandboxMode) -> None:
    bundle = write_bundle(tmp_path / "bundle", VIT)
    assert told(ON_BUNDLE, tmp_path, bundle, mode=mode) == layout(ON_BUNDLE, bundle)


@pytest.mark.slow
def test_a_refusal_is_told_in_its_own_words(bubblewrap: None, tmp_path: Path) -> None:
    bundle = write_configuration(tmp_path / "bundle", {"network_def": {**VIT, "num_classes": "$2"}})
    with pytest.raises(SandboxError, match=r"has in `network_def\.num_classes` an expression") as refusal:
        told(ON_BUNDLE, tmp_path, bundle)
    assert refusal.value.hint == "write the value itself into the bundle"


def test_sees_no_view_no_key_and_no_network(bubblewrap: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "client.key").write_text("secret")
    look = (
        "import json, os, struct, sys\n"
        "sys.stdin.readline()\n"
        f"seen = [p for p in ('/view', {str(tmp_path)!r}, '/code', '/base-model') if os.path.exists(p)]\n"
        "seen += [line.split(':')[0] for line in open('/proc/net/dev') if ':' in line and 'lo:' not in line]\n"
        "text = json.dumps({'refused': f'saw {seen}'}).encode()\n"
        "sys.stdout.buffer.write(struct.pack('<Q', len(text)) + text)\n"
    )
    saying(monkeypatch, look)
    with pytest.raises(SandboxError, match=r"^saw \[\]$"):
        told(CLASSIFIER, tmp_path, protected=(tmp_path,))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "told no layout"),
        (b"[]", "told no layout"),
        (b"{}", "told no layout"),
        (b"[" * 100_000, "told no layout"),
        (json.dumps({"layout": {"tensors": [], "head_modules": [], "transposed": False}}).encode(), "told no layout"),
        (
            json.dumps(
                {"layout": {"tensors": [["a", [2], "zeros"]] * 2, "head_modules": [], "transposed": False}}
            ).encode(),
            "told no layout",
        ),
        (
            json.dumps(
                {"layout": {"tensors": [["a\n", [2], "zeros"]], "head_modules": [], "transposed": False}}
            ).encode(),
            "told no layout",
        ),
        (
            json.dumps(
                {"layout": {"tensors": [["a", [2], "sideways"]], "head_modules": [], "transposed": False}}
            ).encode(),
            "told no layout",
        ),
        (json.dumps({"refused": "\x1b[2Jno " + "x" * 10_000}).encode(), r"^ ?\[2Jno x{380,400}$"),
    ],
)
def test_what_it_says_is_checked(
    bubblewrap: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, sentence: str
) -> None:
    saying(monkeypatch, answering(content))
    with pytest.raises(SandboxError, match=sentence):
        told(CLASSIFIER, tmp_path)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("pass", "ended early"),
        ("import sys; sys.stdout.buffer.write(b'\\xff' * 8); sys.stdout.flush(); sys.stdin.read()", "said more than"),
        ("import time; time.sleep(60)", "was not built within 3 seconds"),
        ("x = b'x' * (1 << 30); import time; time.sleep(60)", "used more than 0.2 GiB memory|not built within"),
    ],
)
def test_a_process_that_builds_nothing(
    bubblewrap: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, sentence: str
) -> None:
    saying(monkeypatch, code)
    with pytest.raises(SandboxError, match=sentence):
        told(CLASSIFIER, tmp_path, limits=Limits(memory_bytes=200 << 20, processes=16, threads=1), seconds=3)
