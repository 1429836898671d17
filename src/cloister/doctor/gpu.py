# SPDX-License-Identifier: Apache-2.0
"""Which GPUs there are, by NVIDIA's own tool, and whether the installed PyTorch could use them."""

from __future__ import annotations

import csv
import importlib.metadata
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order

_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits")
_SECONDS = 4.0
_CUDA_PARTS = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu13")

# The least driver for each major version of CUDA (https://docs.nvidia.com/deploy/cuda-compatibility/).
_LEAST_DRIVER = {12: 525, 13: 580}


@dataclass(frozen=True)
class Gpus:
    """What nvidia-smi says.

    Attributes:
        names: of the GPUs, each with its memory.
        driver: its version; empty where there is none.
        failure: why nvidia-smi does not answer; empty where it does, or where there is no GPU.
    """

    names: tuple[str, ...] = ()
    driver: str = ""
    failure: str = ""


def ask_driver(devices: Path = Path("/dev")) -> Gpus:
    """Ask nvidia-smi; where there is neither the tool nor a device, there is no GPU."""
    if shutil.which(_QUERY[0]) is None:
        there = any(devices.glob("nvidia[0-9]*"))
        return Gpus(failure="there is a device, and nvidia-smi is not installed") if there else Gpus()
    try:
        done = subprocess.run(_QUERY, capture_output=True, timeout=_SECONDS, check=False, text=True)
    except subprocess.TimeoutExpired:
        return Gpus(failure=f"nvidia-smi does not answer within {_SECONDS:.0f} s")
    if done.returncode:
        return Gpus(failure=f"nvidia-smi ends with status {done.returncode}")
    return read_answer(done.stdout)


def read_answer(text: str) -> Gpus:
    """What nvidia-smi printed, a line for each GPU (pure)."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row]
    if any(len(row) != 3 for row in rows):
        return Gpus(failure="nvidia-smi answers otherwise than expected")
    names = tuple(f"{name}, {memory} MiB" for name, _, memory in rows)
    return Gpus(names, rows[0][1] if rows else "")


def cuda_of_torch() -> int | None:
    """The major version of CUDA that the installed PyTorch is made for; None where it computes on processors alone."""
    for name in _CUDA_PARTS:
        try:
            return int(importlib.metadata.version(name).partition(".")[0])
        except (importlib.metadata.PackageNotFoundError, ValueError):
            continue
    return None


def judge_gpus(found: Gpus, cuda: int | None) -> Iterator[Finding]:
    """Whether training can use what there is (pure)."""
    if found.failure:
        hint = "see `nvidia-smi` and the kernel's log; without it, jobs are trained on processors"
        yield Finding("D1005", f"the GPU's driver does not answer: {found.failure}", hint)
    elif not found.names:
        yield in_order(Topic.CAPACITY, "there is no NVIDIA GPU; jobs are trained on processors")
    elif cuda is None:
        message = f"{len(found.names)} GPU ({found.names[0]}), and the installed PyTorch computes on processors alone"
        yield Finding("D1006", message, "install PyTorch's build with CUDA (https://pytorch.org/get-started/locally/)")
    elif _major(found.driver) < _LEAST_DRIVER.get(cuda, 0):
        message = f"the GPU's driver is {found.driver}, and PyTorch's CUDA {cuda} needs {_LEAST_DRIVER[cuda]} or newer"
        yield Finding("D1006", message, "update the driver, or install PyTorch's build for an older CUDA")
    else:
        yield in_order(Topic.CAPACITY, f"{len(found.names)} GPU ({found.names[0]}), driver {found.driver}, CUDA {cuda}")


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdecimal() else 0
