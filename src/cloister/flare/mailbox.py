# SPDX-License-Identifier: Apache-2.0
"""The mailbox at the server (`cloister.trust.mailbox`), as participants reach it over their connection.

Everybody says every ten seconds which roster they have, and gets what is newer, and their next certificate where one
has come; past half of its lifetime they leave a request for it. A person who looks after machines, `it-admin`, carries
letters between the server and the authority, whose key is kept offline. Nobody who carries is believed: a roster counts
that an authority signed whom the server trusts now, and a certificate that this roster lists.

What is said is JSON of bounded size. Whoever asks is whose connection it is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.message import Message

from cloister import __version__
from cloister.certificates import Identity, pem
from cloister.envelope import unseal
from cloister.errors import CloisterError, DeniedError, FederationError
from cloister.flare.connections import CERTIFICATE
from cloister.flare.roster_service import rosters_newer_than
from cloister.flare.traffic import COLLECT, DEPOSIT, MAILBOX, SYNC
from cloister.flare.trust_watch import TrustWatch
from cloister.provisioning.renewal import KIND, read_renewal
from cloister.roster import Role
from cloister.trust import take_up
from cloister.trust.judge import judge_pem
from cloister.trust.mailbox import (
    FOLDER,
    MAXIMUM_LETTER_BYTES,
    grant_for,
    put_grant,
    put_request,
    put_roster,
    requests_in,
)

MAXIMUM_BYTES = 16 << 20
"""Of what is brought or fetched at once; a roster has 1 MiB at most."""

_MOST_ASKED_BYTES = 2 * MAXIMUM_LETTER_BYTES
_SECONDS = 30.0

_log = logging.getLogger(__name__)

Body = dict[str, Any]


class Mailbox:
    """The server's mailbox.

    Args:
        workspace: the server's.
        watch: the server's roster.
    """

    def __init__(self, workspace: Path, watch: TrustWatch) -> None:
        self.folder = workspace / FOLDER
        self._workspace = workspace
        self._watch = watch

    def sync(self, who: Identity, asked: Body) -> Body:
        """Answer with what ``who`` lacks.

        Args:
            who: whose connection it is.
            asked: `version` of the roster that they have, `have`, the fingerprint of their certificate, and `request`,
                the request for the next one, or nothing.
        """
        now = datetime.now(UTC)
        grant = self._grant(who, str(asked.get("have", "")), now)
        if request := asked.get("request"):
            self._leave_request(who, str(request).encode(), grant, now)
        rosters = [content.decode() for content in rosters_newer_than(int(asked["version"]), self._watch)]
        shown = pem.certificate_pem(grant).decode() if grant else None
        return {"time": now.isoformat(), "version": __version__, "rosters": rosters, "grant": shown}

    def _leave_request(self, who: Identity, content: bytes, grant: x509.Certificate | None, now: datetime) -> None:
        """Keep the request of ``who``, unless ``grant``, which they have not seen yet, answers it."""
        renewal = read_renewal(content, self._watch.trust(), now)
        if renewal.identity != who:
            raise DeniedError("the request for renewal is another's")
        asked_for, present = x509.load_pem_x509_csr(renewal.csr_pem).public_key(), unseal(KIND, content).certificate
        # One that is older than the certificate which they have answered an earlier request, with the same key.
        later = grant is not None and grant.not_valid_before_utc > present.not_valid_before_utc
        if grant is None or not later or grant.public_key() != asked_for:
            put_request(self.folder, who.name, content)

    def _grant(self, who: Identity, have: str, now: datetime) -> x509.Certificate | None:
        """The certificate that waits for ``who``, if it counts and is not the one with the fingerprint ``have``."""
        content = grant_for(self.folder, who.name)
        try:
            certificate = pem.parse_certificate(content or b"", "grant")
            if pem.fingerprint(certificate) != have and judge_pem(content or b"", self._watch.trust(), now) == who:
                return certificate
        except CloisterError:  # one that has ended, or whose roster has not come yet
            return None
        return None

    def collect(self, who: Identity, _asked: Body) -> Body:
        """Give ``who`` the requests that wait."""
        _check_carrier(who)
        return {"requests": {name: content.decode() for name, content in requests_in(self.folder).items()}}

    def deposit(self, who: Identity, brought: Body) -> Body:
        """Take rosters and certificates from ``who``; what does not count is named with the reason, and left out."""
        _check_carrier(who)
        refused: dict[str, str] = {}
        for number, text in enumerate(list(brought.get("rosters", [])), 1):
            try:
                self.bring_roster(str(text).encode())
            except CloisterError as error:
                refused[f"roster {number}"] = str(error)
        taken: list[str] = []
        for name, text in dict(brought.get("grants", {})).items():
            try:
                self._bring_grant(str(name), str(text).encode())
                taken.append(str(name))
            except CloisterError as error:
                refused[str(name)[:100]] = str(error)
        return {"roster": self._watch.trust().version, "grants": taken, "refused": refused}

    def bring_roster(self, content: bytes) -> bool:
        """Put a roster in force at the server, and keep it for others; whether it was a newer one.

        Raises:
            CloisterError: where it does not count.
        """
        trust = take_up(self._workspace, content)
        if trust is None:
            return False
        put_roster(self.folder, content, trust.version)
        _log.info("version %d of the roster is in force", trust.version)
        return True

    def _bring_grant(self, name: str, content: bytes) -> None:
        identity = judge_pem(content, self._watch.trust(), datetime.now(UTC))
        if identity.name != name:
            raise DeniedError(f"the certificate for `{name[:100]}` is that of `{identity.name}`")
        put_grant(self.folder, name, content)

    def answer(self, message: Message, do: Callable[[Identity, Body], Body], maximum: int) -> Message:
        """The gate before everything: who asks is whose connection it is, and a failure inside is a refusal."""
        try:
            who = self._watch.holder(message.get_prop(CERTIFICATE) or b"")
            reply = do(who, body_of(message, maximum))
        except CloisterError as error:
            reply = {"error": error.message, "hint": error.hint}
        except Exception:  # noqa: BLE001 - a gate: whatever goes wrong inside denies
            _log.exception("a letter for the mailbox could not be taken")
            reply = {"error": "the server could not take it; its administrator finds the reason in the server's log"}
        answer = Message(headers={}, payload=json.dumps(reply).encode())
        answer.set_header(MessageHeaderKey.RETURN_CODE, ReturnCode.OK)
        return answer

    def open(self, cell: Cell) -> None:
        """Have the server's ``cell`` take letters from now on."""
        topics = {
            SYNC: (self.sync, _MOST_ASKED_BYTES),
            COLLECT: (self.collect, _MOST_ASKED_BYTES),
            DEPOSIT: (self.deposit, MAXIMUM_BYTES),
        }
        for topic, (do, maximum) in topics.items():
            # NVFlare's streams would leave the connection's certificate behind.
            cell.core_cell.register_request_cb(MAILBOX, topic, self.answer, do=do, maximum=maximum)


def _check_carrier(who: Identity) -> None:
    if who.role is not Role.IT_ADMIN:
        hint = f"its letters are carried by people with the role {Role.IT_ADMIN.value}"
        raise DeniedError(f"the mailbox is not open to `{who.name}`", hint=hint)


def body_of(message: Message, maximum: int) -> Body:
    """What ``message`` says.

    Raises:
        DeniedError: where it is more than ``maximum`` bytes, or not a JSON object.
    """
    payload = message.payload
    if not isinstance(payload, bytes | bytearray | memoryview) or len(payload) > maximum:
        raise DeniedError("the letter is too large, or is none")
    try:
        body = json.loads(bytes(payload))
    except (ValueError, RecursionError) as error:
        raise DeniedError("the letter is not JSON") from error
    if not isinstance(body, dict):
        raise DeniedError("the letter says nothing")
    return body


def ask(cell: Cell, topic: str, body: Body) -> Body:
    """What the server's mailbox answers; asked by a participant's ``cell``.

    Raises:
        FederationError: where the server does not answer.
        DeniedError: where it refuses.
    """
    request = Message(headers={}, payload=json.dumps(body).encode())
    try:
        reply = cell.core_cell.send_request(
            channel=MAILBOX, topic=topic, target=FQCN.ROOT_SERVER, request=request, timeout=_SECONDS, optional=True
        )
        code = reply.get_header(MessageHeaderKey.RETURN_CODE)
    except Exception as error:  # whatever NVFlare stumbles over, such as a process that is just beginning or ending
        raise FederationError("the server's mailbox cannot be asked", hint="see `cloister status`") from error
    if code != ReturnCode.OK:
        raise FederationError("the server's mailbox does not answer", hint="see `cloister status`")
    answer = body_of(reply, MAXIMUM_BYTES)
    if "error" in answer:
        raise DeniedError(f"the server refuses: {str(answer['error'])[:500]}", hint=str(answer.get("hint", ""))[:200])
    return answer
