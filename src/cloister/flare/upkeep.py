# SPDX-License-Identifier: Apache-2.0
"""What a running participant does for its own identity, every ten seconds and without anybody's hands.

It takes up a newer roster, asks in time for its next certificate, and puts it in place when it comes. A site does so
over its connection; the server asks its own mailbox, which may also have been filled by hand, from git or with scp.
NVFlare starts these as components; their processes have been given what else they need
(`cloister.flare.running_trust`).
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext

from cloister.audit import Log
from cloister.certificates import Identity
from cloister.errors import CloisterError, FederationError
from cloister.flare.audit_log import log_of_server, log_of_site, record_key
from cloister.flare.closing import PutOut, watch_connections
from cloister.flare.complaints import Complaints
from cloister.flare.letters import Exchange, exchange_letters, own_certificate
from cloister.flare.mailbox import Body, Mailbox, ask
from cloister.flare.state import SiteSettings
from cloister.flare.traffic import SYNC
from cloister.flare.trust_watch import TrustWatch
from cloister.trust.mailbox import rosters_after

EVERY_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Upkeep:
    """One participant's upkeep.

    Args:
        name: the participant's.
        watch: the roster in force there.
        log: the participant's audit log.
        exchange: how the mailbox is asked.
    """

    def __init__(self, name: str, watch: TrustWatch, log: Log, exchange: Exchange) -> None:
        self._name = name
        self._watch = watch
        self._workspace = watch.workspace
        self._log = log
        self._exchange = exchange
        self._shown: x509.Certificate | None = None

    def tick(self) -> None:
        """Do what is to be done now.

        Raises:
            CloisterError: where something could not be done; the next tick does it again.
        """
        self._note_certificate()
        exchange_letters(self._name, self._watch, self._exchange)
        self._note_certificate()

    def _note_certificate(self) -> None:
        """Record a certificate that is another than the last time; somebody may also have renewed it by hand."""
        certificate = own_certificate(self._watch, self._name)
        if self._shown is not None and certificate != self._shown:
            record_key(self._log, certificate)
            _log.info("the certificate was renewed and lasts until %s", certificate.not_valid_after_utc)
        self._shown = certificate

    def run(self, ended: Callable[[], bool], trouble: Callable[[str], None]) -> None:
        """Tick until ``ended``; a tick that fails is told to ``trouble``."""
        pause = threading.Event()
        while not ended():
            try:
                self.tick()
            except FederationError as error:  # there is no connection, which others say
                _log.info("upkeep: %s", error)
            except CloisterError as error:
                trouble(f"upkeep: {error}")
            except Exception:  # noqa: BLE001 - the next tick may do it; meanwhile nothing counts that did not
                _log.exception("the upkeep failed")
            pause.wait(EVERY_SECONDS)

    def begin(self, ended: Callable[[], bool], trouble: Callable[[str], None]) -> None:
        """Do `run` in a thread."""
        threading.Thread(target=self.run, args=(ended, trouble), daemon=True, name="upkeep").start()


def begin_or_end(begin: Callable[[FLContext], None], fl_ctx: FLContext) -> None:
    """Do ``begin``, or end the process: NVFlare logs what a handler of its events raises, and goes on."""
    try:
        begin(fl_ctx)
    except Exception:  # noqa: BLE001 - a gate: a process that nothing looks after does not run
        _log.exception("the process ends, because its upkeep could not begin")
        os.kill(os.getpid(), signal.SIGTERM)


class SiteUpkeep(FLComponent):
    """Starts a site's upkeep with its process."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Begin, once the process has a connection to use."""
        if event_type == EventType.SYSTEM_BOOTSTRAP:
            begin_or_end(self._begin, fl_ctx)

    @staticmethod
    def _begin(fl_ctx: FLContext) -> None:
        settings = SiteSettings.read(_workspace_of(fl_ctx))
        log, cell = log_of_site(settings), fl_ctx.get_engine().get_cell()
        upkeep = Upkeep(settings.site, TrustWatch(settings.workspace), log, lambda body: ask(cell, SYNC, body))
        upkeep.begin(lambda: bool(cell.core_cell.asked_to_stop), Complaints(log).note)


class ServerUpkeep(FLComponent):
    """Opens the server's mailbox, and starts its upkeep and its watch over connections."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Begin, once the server listens."""
        if event_type == EventType.SYSTEM_START:
            begin_or_end(self._begin, fl_ctx)

    @staticmethod
    def _begin(fl_ctx: FLContext) -> None:
        workspace, server = _workspace_of(fl_ctx), fl_ctx.get_engine().server
        watch, log = TrustWatch(workspace), log_of_server(workspace)
        mailbox, complaints = Mailbox(workspace, watch), Complaints(log)
        mailbox.open(server.cell)

        def put_out(found: PutOut) -> None:
            complaints.say(f"closed the connection of `{found.process or found.name}`: {found.reason}")

        watch_connections(server, watch.holder, put_out)
        name = watch.trust().federation.server.name
        upkeep = Upkeep(name, watch, log, lambda body: exchange_at_server(mailbox, watch.entry(name), body))
        upkeep.begin(lambda: bool(server.shutdown), complaints.note)


def exchange_at_server(mailbox: Mailbox, identity: Identity, body: Body) -> Body:
    """What the server itself lacks; rosters that were laid into the mailbox by hand come into force by this."""
    for content in rosters_after(mailbox.folder, int(body["version"])):
        mailbox.bring_roster(content)
    return mailbox.sync(identity, body)


def _workspace_of(fl_ctx: FLContext) -> Path:
    return Path(str(fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT).get_root_dir()))
