# SPDX-License-Identifier: Apache-2.0
"""Are the libraries of the versions that Cloister is made for, and those that the server has?"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order
from cloister.doctor.handshake import cleaned

_PACKAGE = "cloister"
_TOLD = ("nvflare", "torch", "cryptography")
_HINT = "install again what belongs together: `make install`, or `pip install cloister` into a new virtual environment"


@dataclass(frozen=True)
class Installed:
    """What is installed here.

    Attributes:
        python: version of Python.
        requires_python: the versions that Cloister is made for, as packaging writes them.
        requirements: what Cloister needs.
        versions: installed version of each by name; None where it is missing.
    """

    python: str
    requires_python: str
    requirements: tuple[Requirement, ...]
    versions: Mapping[str, str | None]


def ask_installed(
    requires: Iterable[str] | None = None, version_of: Callable[[str], str] = importlib.metadata.version
) -> Installed:
    """Look at the metadata of what is installed; nothing is imported."""
    lines = requires if requires is not None else importlib.metadata.requires(_PACKAGE) or ()
    needed = tuple(
        each for each in map(Requirement, lines) if each.marker is None or each.marker.evaluate({"extra": ""})
    )
    versions: dict[str, str | None] = {}
    for name in (_PACKAGE, *(each.name for each in needed)):
        try:
            versions[name] = version_of(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    requires_python = importlib.metadata.metadata(_PACKAGE)["Requires-Python"] or ""
    return Installed(platform.python_version(), requires_python, needed, versions)


def judge_versions(found: Installed) -> Iterator[Finding]:
    """Whether versions fit (pure)."""
    wrong: list[Finding] = []
    if not SpecifierSet(found.requires_python).contains(found.python, prereleases=True):
        message = f"Python is {found.python}, and Cloister is made for {found.requires_python}"
        wrong.append(Finding("D1302", message, "install Cloister under such a Python, in a new virtual environment"))
    for need in found.requirements:
        version = found.versions.get(need.name)
        if version is None:
            wrong.append(
                Finding("D1301", f"`{need.name}` is not installed, and Cloister needs {need.specifier}", _HINT)
            )
        elif not need.specifier.contains(version, prereleases=True):
            wrong.append(Finding("D1301", f"`{need.name}` is {version}, and Cloister needs {need.specifier}", _HINT))
    told = ", ".join(f"{name} {found.versions[name]}" for name in (_PACKAGE, *_TOLD) if found.versions.get(name))
    yield from wrong or [in_order(Topic.VERSIONS, f"Python {found.python}, {told}")]


def judge_server(here: str, server: str) -> Finding:
    """Whether the server runs this version of Cloister, and thereby of NVFlare (pure)."""
    server = cleaned(server.encode("ascii", "replace"))
    if here == server:
        return in_order(Topic.VERSIONS, f"the server runs Cloister {server} as well")
    hint = "NVFlare does not speak across versions: all participants upgrade together"
    return Finding("D1303", f"Cloister is {here} here and {server} at the server", hint)
