# SPDX-License-Identifier: Apache-2.0
"""The roster in force, as it changes beside a running process, and whose each certificate is by it.

A process of NVFlare's runs for months. Whoever joins, renews or is revoked in that time is in a newer roster, which
lies in the workspace from one moment to the next; so the files are looked at for every question, which costs two
`stat`, and read again where they are others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cloister.certificates.anchors import ROOT_FILE
from cloister.certificates.identity import Identity, identities
from cloister.errors import CertificateError, CloisterError
from cloister.trust import Trust, roster_file, trust_in_force
from cloister.trust.judge import judge_pem

_KEEP = timedelta(seconds=2)
"""How long a verdict stands: a certificate ends, or a list is taken up, at any second."""

_MOST_VERDICTS = 1000

Holder = Callable[[bytes], Identity]
"""Whose a certificate in PEM form is now; raises `CertificateError` where it is nobody's."""


@dataclass(frozen=True)
class _Verdict:
    """What was found of one certificate.

    Attributes:
        at: aware time of the judgement.
        identity: whose it is; None where it is nobody's.
        error: why it is nobody's.
    """

    at: datetime
    identity: Identity | None
    error: CertificateError | None = None


Stamp = tuple[tuple[int, int, int], ...]


def stamp_of(*paths: Path) -> Stamp:
    """What changes whenever one of ``paths`` is replaced or written: inode, size and time of each.

    Raises:
        OSError: where one is not there.
    """
    states = [path.stat() for path in paths]
    return tuple((state.st_ino, state.st_size, state.st_mtime_ns) for state in states)


def _now() -> datetime:
    return datetime.now(UTC)


class TrustWatch:
    """The trust in force at one participant.

    Args:
        workspace: the participant's.
        clock: what time it is, aware.
    """

    def __init__(self, workspace: Path, clock: Callable[[], datetime] = _now) -> None:
        self.workspace = workspace
        self.clock = clock
        self._lock = threading.Lock()
        self._stamp: Stamp = ()
        self._trust: Trust | None = None
        self._verdicts: dict[bytes, _Verdict] = {}

    def trust(self) -> Trust:
        """The roster in force now.

        Raises:
            CloisterError: where there is none, or it does not count.
        """
        with self._lock:
            return self._current()

    def _current(self) -> Trust:
        paths = roster_file(self.workspace), self.workspace / "startup" / ROOT_FILE
        try:
            stamp = stamp_of(*paths)
        except OSError:
            stamp = ()  # `trust_in_force` says which of them it is
        if self._trust is None or not stamp or stamp != self._stamp:
            self._verdicts.clear()
            self._trust = None  # nothing counts while it cannot be read
            self._trust = trust_in_force(self.workspace)
            self._stamp = stamp
        return self._trust

    def holder(self, certificate: bytes) -> Identity:
        """Whose ``certificate``, in PEM form, is now.

        Raises:
            CertificateError: where it is nobody's; one sentence says why.
        """
        with self._lock:
            try:
                trust = self._current()
            except CloisterError as error:
                raise CertificateError(f"no certificate can be judged: {error.message}") from error
            now = self.clock()
            verdict = self._verdicts.get(certificate)
            if verdict is None or not verdict.at <= now < verdict.at + _KEEP:
                verdict = _judged(certificate, trust, now)
                if len(self._verdicts) >= _MOST_VERDICTS:
                    self._verdicts.clear()
                self._verdicts[certificate] = verdict
        if verdict.identity is None:
            raise verdict.error or CertificateError("the certificate cannot be judged")
        return verdict.identity

    def entry(self, name: str) -> Identity:
        """What the roster says of ``name``, whose certificate was judged when its message came in.

        Raises:
            CertificateError: where the roster has no such entry, or there is none.
        """
        try:
            found = [each for each in identities(self.trust().federation) if each.name == name]
        except CloisterError as error:
            raise CertificateError(f"nobody is known: {error.message}") from error
        if not found:
            raise CertificateError("the roster does not have who sent this")
        return found[0]


def _judged(certificate: bytes, trust: Trust, now: datetime) -> _Verdict:
    try:
        return _Verdict(now, judge_pem(certificate, trust, now))
    except CertificateError as error:
        return _Verdict(now, None, error)
    except Exception:  # noqa: BLE001 - a gate: what cannot be judged, for whatever reason, is nobody's
        return _Verdict(now, None, CertificateError("the certificate cannot be judged"))
