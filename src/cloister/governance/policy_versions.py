# SPDX-License-Identifier: Apache-2.0
"""What a site remembers of its policies' versions, so that nobody puts back an older one, or one that was revoked.

The memory lies in the site's workspace, not beside the policies: whoever can replace a policy and its signature by an
older pair, both genuine, or remove a revocation cannot thereby make the site forget. A memory that is there and cannot
be read refuses; it is never begun anew. Only where there is no file at all is one made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from cloister.documents import Document
from cloister.errors import DeniedError
from cloister.file_lock import locked
from cloister.files import canonical_json, private_folder, sha256_of, write_atomically
from cloister.governance.policy_signature import RAISE_VERSION
from cloister.policies import Policy

FILE = "policy-versions.json"


class Seen(NamedTuple):
    """What a site has seen of a policy.

    Attributes:
        version: number of the highest version that it has taken up; 0 where it has taken up none.
        sha256: hexadecimal SHA-256 of that version's file.
        revoked: numbers of the versions that it was asked about and that were revoked then.
    """

    version: int = 0
    sha256: str = ""
    revoked: tuple[int, ...] = ()


class PolicyVersions:
    """A site's memory of versions.

    Args:
        folder: the site's workspace; the file lies in it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def check(self, policies: Iterable[Document[Policy]]) -> None:
        """See that none of ``policies`` is older than one that was taken up, another of the same version, or revoked.

        Raises:
            DeniedError: where one is, or the memory cannot be read.
        """
        _check(policies, self._read())

    def check_not_revoked(self, policy: Document[Policy]) -> None:
        """See that the site never saw this version of ``policy`` revoked.

        Raises:
            DeniedError: where it did, or the memory cannot be read.
        """
        _check_not_revoked(policy, self._read())

    def take_up(self, policies: Iterable[Document[Policy]]) -> None:
        """Check, and remember; what is remembered is on the disk before this returns.

        Raises:
            DeniedError: as `check` does, and where the memory cannot be written.
        """
        documents = list(policies)

        def taken_up(seen: dict[str, Seen]) -> dict[str, Seen]:
            _check(documents, seen)
            return seen | {each.value.policy: _taken_up(each, seen) for each in documents}

        self._change(taken_up)

    def remember_revoked(self, policy: Document[Policy]) -> None:
        """Remember that this version of ``policy`` was revoked; it is on the disk before this returns.

        Raises:
            DeniedError: where the memory cannot be read or written.
        """
        name, version = policy.value.policy, policy.value.version

        def remembered(seen: dict[str, Seen]) -> dict[str, Seen]:
            entry = seen.get(name, Seen())
            return seen | {name: entry._replace(revoked=tuple(sorted({*entry.revoked, version})))}

        self._change(remembered)

    def _change(self, change: Callable[[dict[str, Seen]], dict[str, Seen]]) -> None:
        try:
            private_folder(self._path.parent)
            with locked(self._path.with_name(f"{FILE}.lock")):
                seen = self._read()
                now = change(seen)
                if now != seen:
                    said = {name: each._asdict() for name, each in now.items()}
                    write_atomically(self._path, canonical_json(said) + b"\n")
        except OSError as error:
            raise self._unusable() from error

    def _read(self) -> dict[str, Seen]:
        try:
            value = json.loads(self._path.read_bytes())
            entries = {name: Seen(**each) for name, each in value.items()}
            seen = {name: each._replace(revoked=tuple(each.revoked)) for name, each in entries.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise self._unusable() from error
        if not all(map(_is_sound, seen.values())):
            raise self._unusable()
        return seen

    def _unusable(self) -> DeniedError:
        hint = "it keeps older policies from coming back; docs/policies.md says how to begin it anew"
        return DeniedError(f"the site's memory of policy versions `{self._path}` cannot be read or written", hint=hint)


def _is_sound(seen: Seen) -> bool:
    numbers = (seen.version, *seen.revoked)
    return all(type(number) is int for number in numbers) and isinstance(seen.sha256, str)


def _taken_up(policy: Document[Policy], seen: dict[str, Seen]) -> Seen:
    before = seen.get(policy.value.policy, Seen())
    return before._replace(version=policy.value.version, sha256=sha256_of(policy.text))


def _check(policies: Iterable[Document[Policy]], seen: dict[str, Seen]) -> None:
    for document in policies:
        name, version, at = document.value.policy, document.value.version, document.source.at("version")
        highest, hint = seen.get(name, Seen()), RAISE_VERSION.format(name=name)
        if version < highest.version:
            message = f"{at}: version {version} was put back after version {highest.version} was in force"
            raise DeniedError(message, hint=hint)
        if version == highest.version and sha256_of(document.text) != highest.sha256:
            raise DeniedError(f"{at}: version {version} was in force with other content", hint=hint)
        _check_not_revoked(document, seen)


def _check_not_revoked(policy: Document[Policy], seen: dict[str, Seen]) -> None:
    name, version = policy.value.policy, policy.value.version
    if version in seen.get(name, Seen()).revoked:
        message = f"version {version} of the policy of `{name}` was revoked, and the site remembers it"
        raise DeniedError(message, hint="the site takes jobs again under a higher version")
