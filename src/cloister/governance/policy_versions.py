# SPDX-License-Identifier: Apache-2.0
"""What a site remembers of its policies' versions, so that nobody puts an older one back.

The memory lies in the site's workspace, not beside the policies: whoever can replace a policy and its signature by an
older pair, both genuine, cannot thereby make the site forget. A memory that is there and cannot be read refuses; it is
never begun anew. Only where there is no file at all is one made.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cloister.documents import Document
from cloister.errors import DeniedError
from cloister.files import PRIVATE_FILE, canonical_json, private_folder, sha256_of, write_atomically
from cloister.governance.policy_signature import RAISE_VERSION
from cloister.policies import Policy

FILE = "policy-versions.json"


class Seen(NamedTuple):
    """The highest version of a policy that a site has taken up.

    Attributes:
        version: its number.
        sha256: hexadecimal SHA-256 of its file.
    """

    version: int
    sha256: str


class PolicyVersions:
    """A site's memory of versions.

    Args:
        folder: the site's workspace; the file lies in it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def check(self, policies: Iterable[Document[Policy]]) -> None:
        """See that none of ``policies`` is older than one that was taken up, or another of the same version.

        Raises:
            DeniedError: where one is, or the memory cannot be read.
        """
        _check(policies, self._read())

    def take_up(self, policies: Iterable[Document[Policy]]) -> None:
        """Check, and remember; what is remembered is on the disk before this returns.

        Raises:
            DeniedError: as `check` does, and where the memory cannot be written.
        """
        documents = list(policies)
        try:
            with self._locked():
                seen = self._read()
                _check(documents, seen)
                now = seen | {each.value.policy: _seen(each) for each in documents}
                if now != seen:
                    said = {name: each._asdict() for name, each in now.items()}
                    write_atomically(self._path, canonical_json(said) + b"\n")
        except OSError as error:
            raise self._unusable() from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = private_folder(self._path.parent) / f"{FILE}.lock"
        descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> dict[str, Seen]:
        try:
            value = json.loads(self._path.read_bytes())
            seen = {name: Seen(**each) for name, each in value.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise self._unusable() from error
        if not all(type(each.version) is int and isinstance(each.sha256, str) for each in seen.values()):
            raise self._unusable()
        return seen

    def _unusable(self) -> DeniedError:
        hint = "it keeps older policies from coming back; docs/policies.md says how to begin it anew"
        return DeniedError(f"the site's memory of policy versions `{self._path}` cannot be read or written", hint=hint)


def _seen(policy: Document[Policy]) -> Seen:
    return Seen(policy.value.version, sha256_of(policy.text))


def _check(policies: Iterable[Document[Policy]], seen: dict[str, Seen]) -> None:
    for document in policies:
        name = document.value.policy
        if name not in seen:
            continue
        highest, found, at = seen[name], _seen(document), document.source.at("version")
        hint = RAISE_VERSION.format(name=name)
        if found.version < highest.version:
            message = f"{at}: version {found.version} was put back after version {highest.version} was in force"
            raise DeniedError(message, hint=hint)
        if found.version == highest.version and found.sha256 != highest.sha256:
            raise DeniedError(f"{at}: version {found.version} was in force with other content", hint=hint)
