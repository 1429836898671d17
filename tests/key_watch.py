# SPDX-License-Identifier: Apache-2.0
"""Sees whether a private key is ever readable by others, at any moment between a command's first and last step.

Two ways, because neither sees everything. `stepping` looks after every system call of this process by which a file
comes to be, gets its rights or another name; it misses nothing, and sees no other process. `Watching` is told of every
change below its folders by inotify(7), whoever makes it; it may come late for a file that is gone at once.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from inotify_simple import INotify, flags

_CALLS = ("open", "write", "chmod", "fchmod", "link", "rename", "replace", "mkdir")
_MARK = b"PRIVATE KEY-----"
_OTHERS = 0o077


def is_key(path: Path) -> bool:
    """Whether ``path`` holds a private key, or is on its way to be one by its name."""
    if ".key" in path.name or any(".key." in part for part in path.parts[-2:]):
        return True
    try:
        with path.open("rb") as stream:
            return _MARK in stream.read(4096)
    except OSError:
        return False


@dataclass
class Report:
    """What was seen.

    Attributes:
        keys: every path at which a key was seen.
        exposed: those that others could read or write, with their rights at that moment.
        looks: how often it was looked.
    """

    keys: set[str] = field(default_factory=set)
    exposed: set[str] = field(default_factory=set)
    looks: int = 0

    def look_at(self, path: Path) -> None:
        """Look at one file, which may be gone by now."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and is_key(path):
                self.keys.add(str(path))
                if status.st_mode & _OTHERS:
                    self.exposed.add(f"{path} {stat.S_IMODE(status.st_mode):04o}")

    def look_in(self, folder: Path) -> None:
        """Look at everything below ``folder``."""
        self.looks += 1
        for name, _, files in os.walk(folder):
            for file in files:
                self.look_at(Path(name) / file)


@contextlib.contextmanager
def stepping(*folders: Path) -> Iterator[Report]:
    """Look at everything below ``folders`` after every step of this process."""
    report, busy = Report(), threading.local()

    def looking(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **keywords: Any) -> Any:
            result = call(*arguments, **keywords)
            if not getattr(busy, "looks", False):
                busy.looks = True
                try:
                    for folder in folders:
                        report.look_in(folder)
                finally:
                    busy.looks = False
            return result

        return called

    with pytest.MonkeyPatch.context() as patch:
        for name in _CALLS:
            patch.setattr(os, name, looking(getattr(os, name)))
        yield report


class Watching:
    """Is told by the kernel of every change below some folders, until it is stopped.

    Args:
        folders: each with everything that comes to be below it.
    """

    _CHANGES = flags.CREATE | flags.MODIFY | flags.ATTRIB | flags.CLOSE_WRITE | flags.MOVED_TO | flags.ONLYDIR

    def __init__(self, *folders: Path) -> None:
        self.report = Report()
        self._folders = folders
        self._inotify = INotify()
        self._places: dict[int, Path] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Report:
        for folder in self._folders:
            self._add(folder)
        self._thread.start()
        return self.report

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()
        self._inotify.close()
        for folder in self._folders:
            self.report.look_in(folder)

    def _add(self, folder: Path) -> None:
        with contextlib.suppress(OSError):  # gone already
            self._places[self._inotify.add_watch(folder, self._CHANGES)] = folder
            for path in folder.iterdir():  # what came before the kernel was asked
                if path.is_dir() and not path.is_symlink():
                    self._add(path)
                else:
                    self.report.look_at(path)

    def _watch(self) -> None:
        while not self._ended.is_set():
            for event in self._inotify.read(timeout=50):
                place = self._places.get(event.wd)
                if event.mask & flags.Q_OVERFLOW:
                    self.report.exposed.add("events were lost")
                if place is None or not event.name:
                    continue
                self.report.looks += 1
                if event.mask & flags.ISDIR:
                    if event.mask & (flags.CREATE | flags.MOVED_TO):
                        self._add(place / event.name)
                else:
                    self.report.look_at(place / event.name)
