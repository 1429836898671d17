# SPDX-License-Identifier: Apache-2.0
"""One job at one site, from its admission to its end: every gate that it passes.

Knows nothing of how NVFlare carries its messages. At each gate the policies must still stand. Where they do not, where
what happens cannot be recorded, and where the preparation fails for whatever reason, the job is over here: its trainer
is stopped, its view and its training code are removed. An update that may not leave ends no more than its round.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cloister.adapter_file import maximum_blob_bytes
from cloister.audit import Log
from cloister.documents import Document
from cloister.errors import DeniedError
from cloister.files import private_folder
from cloister.flare.admitted import Admitted
from cloister.flare.audit_log import log_of_site
from cloister.flare.base_model import check_base_model, find_base_model
from cloister.flare.egress_gate import EgressGate
from cloister.flare.exchange import Ask, Prepared, Settled, Update
from cloister.flare.job_folder import App
from cloister.flare.payload import Payload
from cloister.flare.personal_layers import keep_personal
from cloister.flare.site_exchange import SiteExchange, opened
from cloister.flare.site_gates import SiteGates
from cloister.flare.site_trainer import SiteTrainer, TrainerProcess
from cloister.flare.site_view import SiteView, ViewMaker
from cloister.flare.standing import check_standing
from cloister.flare.state import SiteSettings
from cloister.flare.turns import Turns
from cloister.jobs import AdapterLayout, Code, Job, layout_of
from cloister.jobs.statistics import FeatureStatistics, covers
from cloister.messages import Evaluate, Train
from cloister.policies import Policies, rank_at
from cloister.repository import SiteDocuments
from cloister.sandbox import SandboxMode, Trainer, network_layout

_log = logging.getLogger(__name__)


@dataclass
class SiteJob:
    """The job's state at this site.

    Attributes:
        settings: where the site's things lie.
        document: the job.
        admitted: under whom and which policy it was admitted.
        base_model: folder of the site's own base model; None where the job declares a network.
        exchange: the tensors that are exchanged, worked out from the site's own base model, or from the job and what
            its features are like over all sites; None before that is known.
        private: folder for view, training code and trainer's log; removed at the end, except for the log.
        clock: gives the moment that policies are judged by, aware, UTC; asked anew at every gate.
        log: the site's audit log.
        code: the training code that the job brings; None where it brings none.
        standing: sees that the policies still stand.
        make_view: writes the view; None for `cloister.records.write_view` with the site's own key.
        make_trainer: makes the trainer's process; None for one of its own, `cloister.sandbox.Trainer`.
        trainer: its trainer, from start to end.
        turns: which of its rounds it was asked for.
        gates: asks the policies.
        view: the job's view.
        egress: the gate that all passes which leaves.
    """

    settings: SiteSettings
    document: Document[Job]
    admitted: Admitted
    base_model: Path | None
    private: Path
    clock: Callable[[], datetime]
    log: Log
    code: Code | None = None
    standing: Callable[[SiteSettings, Policies], None] = check_standing
    make_view: ViewMaker | None = None
    make_trainer: Callable[..., TrainerProcess] | None = None
    exchange: SiteExchange | None = None
    trainer: SiteTrainer = field(init=False)
    turns: Turns = field(init=False)
    gates: SiteGates = field(init=False)
    view: SiteView = field(init=False)
    egress: EgressGate = field(init=False)
    _described: FeatureStatistics | None = None

    def __post_init__(self) -> None:
        self.trainer = SiteTrainer(self.job, self.site.silo.value, self.private, self.code)
        self.turns = Turns(self.job.federation.rounds)
        self.gates = SiteGates(
            self.settings,
            self.document,
            self.admitted,
            code=None if self.code is None else self.code.digest,
            clock=self.clock,
            log=self.log,
            standing=self.standing,
            turns=self.turns,
            over=self.close,
        )
        self.view = SiteView(self.gates, self.trainer.view, self.make_view)
        self.egress = EgressGate(self.gates)

    @classmethod
    def open(
        cls,
        settings: SiteSettings,
        job_id: str,
        app: App,
        private: Path,
        clock: Callable[[], datetime],
    ) -> SiteJob:
        """Take up an admitted job.

        Raises:
            CloisterError: where it was not admitted as it now is, or the site cannot serve it.
        """
        admitted = Admitted.take(settings.workspace, job_id)
        if admitted.app != app.digest:
            raise DeniedError("the job is not the one that was admitted")
        document = app.job
        site = admitted.site
        check_standing(settings, site.policies)
        base_model = find_base_model(settings.root, site.silo.value, document.value)
        private_folder(private)
        return cls(settings, document, admitted, base_model, private, clock, log_of_site(settings), app.code)

    @property
    def job(self) -> Job:
        """The job itself."""
        return self.document.value

    @property
    def site(self) -> SiteDocuments:
        """The site's documents, as they were when the job was admitted."""
        return self.admitted.site

    @property
    def norm(self) -> float | None:
        """Of the update that passed the gate last."""
        return self.egress.norm

    def prepare(self) -> Prepared:
        """Write the view, ask the policy again, start the trainer.

        Raises:
            CloisterError: where any of it cannot be done or is not allowed; nothing of it is left then.
        """
        try:
            return self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> Prepared:
        if self.code is not None and self.admitted.mode is not SandboxMode.BUBBLEWRAP:
            raise DeniedError("the job brings training code, and this site runs trainers without a sandbox")
        check_base_model(self.job, self.base_model)
        manifest = self.view.write()
        layout = None
        if self.job.form.statistics:
            described = self.view.describe()
            self.egress.describe(described)
            self._described = described
        else:
            layout = self._start(self._layout()).to_json()
        return Prepared(
            training=manifest.training,
            validation=manifest.validation,
            view=manifest.digest,
            policy=self.site.policies.digest,
            sandbox=self.admitted.mode.value,
            layout=layout,
            statistics=self._described,
            release_minimum_sites=self.site.policies.release_minimum_sites,
            release_minimum_records=self.site.policies.release_minimum_records,
        )

    def settle(self, statistics: FeatureStatistics) -> Settled:
        """Take over what the features are like over all sites, and start the trainer.

        Raises:
            CloisterError: where that does not fit what this site described, or the trainer cannot be started; nothing
                is left of the job then.
        """
        try:
            self.gates.check_standing()
            own, self._described = self._described, None
            if own is None or not self.job.trains:
                raise DeniedError("the server says what features are like, and this site waits for no such thing")
            if not covers(statistics, own):
                raise DeniedError("what the server says of the features cannot be so, after what this site described")
            return Settled(layout=self._start(layout_of(self.job, statistics=statistics), statistics).to_json())
        except BaseException:
            self.close()
            raise

    def _start(self, network: AdapterLayout, statistics: FeatureStatistics | None = None) -> AdapterLayout:
        """Start the trainer of ``network``; returns the tensors that are exchanged of it."""
        self.exchange = exchange = SiteExchange(self.document, self.settings.site, network, self.trainer.tensors)
        most = maximum_blob_bytes(exchange.blob_layout)
        make, mode = self.make_trainer or Trainer, self.admitted.mode
        self.trainer.start(make, network, self.base_model, self._protected, mode, statistics, maximum_blob_bytes=most)
        return exchange.layout

    @property
    def _protected(self) -> tuple[Path, ...]:
        return self.settings.state, self.settings.workspace

    def _layout(self) -> AdapterLayout:
        """The tensors of a job that needs no description of features; of images a sandboxed process tells them."""
        if self.job.imaging is None:
            return layout_of(self.job, base_model=self.base_model, rank=rank_at(self.job, self.site.policies))
        log = self.trainer.private / "trainer.log"
        return network_layout(self.job, self.base_model, mode=self.admitted.mode, log=log, protected=self._protected)

    def train(self, ask: Ask, payload: Payload) -> tuple[Update, Payload]:
        """One round.

        Args:
            ask: which one, and what the payload holds.
            payload: what the server sent of the weights.

        Raises:
            CloisterError: where the trainer fails twice, or what it gives may not leave.
        """
        exchange = self._before(ask, self.turns.train)
        received, request = exchange.receive(ask, payload)
        begun = time.monotonic()
        done, blob = self.trainer.ask(Train(round=ask.round, frozen=exchange.frozen(ask.round)), request)
        _log.info("round %d: the trainer took %.3f s", ask.round, time.monotonic() - begun)
        learnt = exchange.learnt(blob, received, ask.round)
        self.view.check_claimed(done.records)
        released = self.egress.release(exchange, done.metrics, learnt, done.records, ask.round)
        try:
            update = self._update(ask.round, done.records, dict(released.metrics))
        except BaseException:
            exchange.stayed()
            raise
        exchange.left(learnt)
        return update, released.tensors

    def evaluate(self, ask: Ask, payload: Payload) -> Update:
        """Measure the adapter.

        Args:
            ask: what the payload holds.
            payload: what the server sent of the weights.

        Raises:
            CloisterError: where the trainer fails twice, or what it gives may not leave.
        """
        exchange = self._before(ask, self.turns.evaluate)
        done, _ = self.trainer.ask(Evaluate(), exchange.receive(ask, payload)[1])
        released = self.egress.release(exchange, done.metrics, None, None, ask.round)
        if personal := exchange.personal():
            keep_personal(self.settings.workspace, self.admitted.job_id, personal)
        return self._update(ask.round, 0, dict(released.metrics))  # a trainer may claim any, and nobody needs to know

    def _before(self, ask: Ask, turn: Callable[[int], None]) -> SiteExchange:
        self.trainer.check_restarts()
        self.gates.check_standing()
        turn(ask.round)
        return opened(self.exchange)

    def close(self) -> None:
        """Stop the trainer, remove view and training code; may be called from any thread, more than once."""
        self.trainer.close()

    def _update(self, number: int, records: int, metrics: dict[str, float]) -> Update:
        restarts, head = self.trainer.running().restarts, self.log.head()
        return Update(round=number, records=records, metrics=metrics, restarts=restarts, audit=head)
