# SPDX-License-Identifier: Apache-2.0
"""Room on the disk, memory, processors and GPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cloister.doctor.capacity import Disk, Memory, ask_memory, disk_of, judge_disk, judge_memory
from cloister.doctor.gpu import Gpus, ask_driver, cuda_of_torch, judge_gpus, read_answer
from cloister.silos.model import Capacity

GIB = 2**30


def statvfs(free: int, files: int = 10**6) -> os.statvfs_result:
    block = 4096
    return os.statvfs_result((block, block, 10**9, free // block + 99, free // block, 10**7, files, files, 0, 255))


@pytest.mark.parametrize(
    ("free", "files", "code", "words"),
    [
        (0, 10**6, "D1001", "only 0.0 GiB are free"),
        (GIB - 4096, 10**6, "D1001", "are free where"),
        (2 * GIB, 10**6, "D1002", "only 2.0 GiB are free"),
        (50 * GIB, 10**6, "D1000", "50.0 GiB are free"),
        (50 * GIB, 12, "D1001", "only 12 more files can be made"),
    ],
)
def test_a_disk(tmp_path: Path, free: int, files: int, code: str, words: str) -> None:
    told = judge_disk(disk_of(tmp_path, lambda _: statvfs(free, files)))
    assert (told.code, words in told.message) == (code, True)


def test_a_file_system_that_counts_no_files_is_not_short_of_them(tmp_path: Path) -> None:
    found = os.statvfs_result((4096, 4096, 10**9, 10**8, 10**8, 0, 0, 0, 0, 255))
    assert disk_of(tmp_path, lambda _: found) == Disk(tmp_path, 4096 * 10**8, None)
    assert judge_disk(disk_of(tmp_path)).code in {"D1000", "D1001", "D1002"}


@pytest.mark.parametrize(
    ("memory", "told"),
    [
        (Memory(16 * GIB, 12 * GIB, 8), ["D1000"]),
        (Memory(4 * GIB, 4 * GIB, 8), ["D1003"]),
        (Memory(16 * GIB, 4 * GIB, 8), ["D1007"]),
        (Memory(16 * GIB, 12 * GIB, 1), ["D1004"]),
        (Memory(4 * GIB, GIB, 1), ["D1003", "D1004"]),
    ],
)
def test_memory_and_processors(memory: Memory, told: list[str]) -> None:
    assert [each.code for each in judge_memory(memory, Capacity(memory_gib=8, threads=4))] == told


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    whole = ask_memory(tmp_path)
    assert 0 < whole.available_bytes <= whole.total_bytes
    (tmp_path / "memory.max").write_text("1073741824\n")
    (tmp_path / "memory.current").write_text("73741824\n")
    assert ask_memory(tmp_path).total_bytes == GIB
    assert ask_memory(tmp_path).available_bytes <= 10**9
    (tmp_path / "memory.max").write_text("max\n")
    assert ask_memory(tmp_path).total_bytes == whole.total_bytes


H100 = "NVIDIA H100 80GB HBM3, 570.86.15, 81559\n"


def test_what_nvidia_smi_prints_is_read() -> None:
    assert read_answer(H100 * 2) == Gpus(("NVIDIA H100 80GB HBM3, 81559 MiB",) * 2, "570.86.15")
    assert read_answer("") == Gpus()
    assert read_answer("NVIDIA-SMI has failed\n").failure


@pytest.mark.parametrize(
    ("gpus", "cuda", "code"),
    [
        (Gpus(), None, "D1000"),
        (read_answer(H100), 12, "D1000"),
        (read_answer(H100), None, "D1006"),
        (read_answer(H100), 13, "D1006"),
        (Gpus(failure="nvidia-smi ends with status 9"), 12, "D1005"),
    ],
)
def test_gpus(gpus: Gpus, cuda: int | None, code: str) -> None:
    (told,) = judge_gpus(gpus, cuda)
    assert told.code == code


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        ("echo 'A, 1.2, 3'", ""),
        ("exit 9", "nvidia-smi ends with status 9"),
        ("exec sleep 60", "nvidia-smi does not answer within 0 s"),
    ],
)
def test_the_driver_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, failure: str) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("cloister.doctor.gpu._SECONDS", 0.4)
    assert ask_driver().failure == failure


def test_a_device_without_the_tool_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert ask_driver(tmp_path) == Gpus()
    (tmp_path / "nvidia0").touch()
    assert ask_driver(tmp_path).failure


def test_the_installed_pytorch_is_known() -> None:
    assert cuda_of_torch() in (None, 12, 13)
