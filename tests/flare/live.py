# SPDX-License-Identifier: Apache-2.0
"""A federation of real processes, driven through the command line as a person would."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cloister.documents import load
from cloister.flare.processes import LocalFederation
from cloister.flare.session import JobView, PersonSession, connect
from cloister.roster import Federation
from tests.federation_folder import JOB, PERSON, SITES, fix_splits

CLOISTER = Path(sys.executable).with_name("cloister")
SECONDS = 240


@dataclass
class Live:
    """One federation's folder and the commands that people type in it."""

    root: Path

    def cli(self, *arguments: str, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run one command; fails where its exit status is not the expected one."""
        done = subprocess.run(
            [str(CLOISTER), *arguments], cwd=self.root, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if arguments[0] == "provision":
            fix_splits(self.root, SITES)
        if expect is not None:
            assert done.returncode == expect, f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, expect: int | None = 0) -> Any:
        """Run one command with `--json`; its standard output must be one JSON value."""
        return json.loads(self.cli(*arguments, "--json", expect=expect).stdout)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start one command and go on."""
        return subprocess.Popen(
            [str(CLOISTER), *arguments], cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    @property
    def local(self) -> LocalFederation:
        roster = load(self.root / "provisioning" / "federation.yaml", Federation).value
        return LocalFederation(self.root, roster)

    @contextlib.contextmanager
    def session(self, person: str = PERSON) -> Iterator[PersonSession]:
        """A person's session, for what the command line does not offer."""
        with connect(self.local.state.person(person), person) as session:
            yield session

    def processes(self) -> list[psutil.Process]:
        """Every process that bears this federation's mark."""
        return self.local.marked()

    def process_of(self, *words: str) -> psutil.Process:
        """The marked process, or child of one, whose command line holds all ``words``."""
        known = {process.pid: process for process in self.processes()}
        for process in list(known.values()):
            with contextlib.suppress(psutil.Error):
                known |= {child.pid: child for child in process.children(recursive=True)}
        for process in known.values():
            with contextlib.suppress(psutil.Error):
                if all(word in " ".join(process.cmdline()) for word in words):
                    return process
        raise AssertionError(f"no process with {words}")

    def submit(self, job: str = JOB) -> str:
        return str(self.json("job", "submit", job)["job_id"])

    def wait(self, session: PersonSession, job_id: str, until: Callable[[JobView], bool]) -> JobView:
        """Poll a job until something is true of it, or it has ended."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            view = session.job(job_id)
            if until(view) or view.finished:
                return view
            time.sleep(0.1)
        raise AssertionError("the job did not get there")

    def sites_of_result(self, job_id: str) -> dict[str, Any]:
        """What a fetched result says of each site."""
        path = self.local.state.result(job_id) / "result.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))["sites"])


def in_round(number: int) -> Callable[[JobView], bool]:
    """Whether a job trains in round ``number``."""
    return lambda view: (
        bool(view.progress) and view.progress["round"] >= number and view.progress["phase"] == "training"
    )


def ended(_view: JobView) -> bool:
    """Never true: wait for the end."""
    return False


def kill_tree(process: psutil.Process) -> None:
    """Kill a process and everything below it with SIGKILL, parents first."""
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()


def readable_by_others(folder: Path) -> list[Path]:
    """Files and folders below ``folder`` that others could read if they got there."""
    return [path for path in folder.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o077]
