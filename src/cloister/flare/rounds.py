# SPDX-License-Identifier: Apache-2.0
"""What the server knows of one job, round by round; no NVFlare in here.

An update counts only if it is what the site announced: tensors of the agreed layout, all finite, and no more records
than the manifest of the site's view said at the start. A site cannot buy itself weight by claiming records.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloister.documents import Document
from cloister.egress import permitted_metrics
from cloister.errors import CloisterError, EgressError, JobError
from cloister.files import canonical_json, sha256_of, sha256_of_file
from cloister.flare.agreed_layout import agreed_layout
from cloister.flare.announcement import announced_layouts, check_prepared, check_settled, described_features
from cloister.flare.asked_sites import asked_sites
from cloister.flare.chosen_round import ChosenRound
from cloister.flare.exchange import Ask, Prepared, Refusal, Reply, Settled, TaskName, Update
from cloister.flare.job_record import JobRecord
from cloister.flare.leftover_updates import work_folder
from cloister.flare.measurements import Measurements
from cloister.flare.payload import Payload, discard, size_of
from cloister.flare.quorum import check_enough
from cloister.flare.round_files import RoundFiles
from cloister.flare.round_weights import RoundWeights
from cloister.flare.task import Task
from cloister.jobs import METRICS, Job
from cloister.jobs.statistics import FeatureStatistics, pooled

_log = logging.getLogger(__name__)

_PHASES = {
    TaskName.PREPARE: "preparing",
    TaskName.SETTLE: "settling",
    TaskName.TRAIN: "training",
    TaskName.EVALUATE: "measuring",
}


class Rounds:
    """The rounds of one job.

    Args:
        document: the job.
        job_id: NVFlare's identifier.
        sites: those that were invited and admitted the job.
        folder: where state and result are written.

    Attributes:
        job: the job.
        last: number of its last round.
        record: what is told of it.
    """

    def __init__(self, document: Document[Job], job_id: str, sites: list[str], folder: Path) -> None:
        self.job = document.value
        self.last = self.job.federation.rounds
        self._files = RoundFiles(folder)
        self._weights = RoundWeights(document, self._files.folder, work_folder(folder))
        self.record = JobRecord(document, job_id, sites)
        self._lock = threading.RLock()
        self._statistics: FeatureStatistics | None = None
        self._open = False
        self._agreed: frozenset[str] | None = None  # sites that exchange what the job does; None before it is known
        self._measured = Measurements(alike=self.job.aggregation.counts_sites_alike)
        self._chosen = ChosenRound(self.job.select_by)

    @property
    def invited(self) -> list[str]:
        """Every site that admitted the job."""
        return sorted(self.record.sites)

    @property
    def taking_part(self) -> list[str]:
        """Sites that are prepared and ready to train; one that refused a round is asked again in the next."""
        with self._lock:
            there = {name for name, site in self.record.sites.items() if site.prepared}
            return sorted(there if self._agreed is None else there & self._agreed)

    def asked(self, number: int) -> list[str]:
        """The sites of round ``number``, from 1: those taking part, or as many of them as the job asks in a round."""
        count = self.job.federation.sites_per_round
        return asked_sites(self.taking_part, count, seed=self.job.seed, number=number)

    def tasks(self, number: int, sites: Collection[str]) -> list[Task]:
        """What ``sites`` are sent to train or measure the newest weights in round ``number``; some need more."""
        with self._lock:
            return [
                Task(names, Ask(round=number, weights=sent), path) for names, sent, path in self._weights.tasks(sites)
            ]

    def is_enough(self) -> bool:
        """Whether as many sites have given their update as the job waits for; False where it waits for all."""
        enough = self.job.federation.enough_sites
        with self._lock:
            return enough is not None and self.record.phase == "training" and self._weights.updates >= enough

    def most_from(self, site: str) -> int:
        """Bytes of tensors that ``site`` may have to send now: those of an update, and none where none is asked for."""
        # Without the lock: another site's update may be looked at for long, and nothing here changes meanwhile.
        return self._weights.most_from(site) if self._open and self.record.phase == "training" else 0

    def ask(self, task: TaskName, number: int, sites: list[str]) -> None:
        """Note that ``sites`` are being asked."""
        with self._lock:
            passed_over = set(self.taking_part) - set(sites)
            if task is TaskName.TRAIN and self._open:  # also where nobody is left, and no task says its number
                number = len(self.record.history) + 1
            self.record.asked(_PHASES[task], min(number, self.last), sites, passed_over=passed_over)
            self._measured = Measurements(alike=self.job.aggregation.counts_sites_alike)

    def absent(self, site: str, reason: str) -> None:
        """Note that no answer came from ``site``."""
        with self._lock:
            self.record.note(site, state="absent", reason=reason)

    def take(self, site: str, reply: Reply, payload: Payload) -> bool:
        """Take one site's answer; returns whether it counts. A site answers once.

        A file in ``payload`` is taken over, or removed.
        """
        try:
            with self._lock:
                return self._take(site, reply, payload)
        finally:
            discard(payload)

    def _take(self, site: str, reply: Reply, payload: Payload) -> bool:
        if self.record.sites[site].state != self.record.phase:
            return False
        refused = {"state": "refused", "denied": False}
        try:
            if isinstance(reply, Refusal):
                self.record.note(site, state="refused", reason=_one_line(reply.reason), denied=reply.denied)
                return False
            if isinstance(reply, Prepared):
                self._take_prepared(site, reply)
            elif isinstance(reply, Settled):
                self._take_settled(site, reply)
            else:
                self._take_update(site, reply, payload)
        except CloisterError as error:
            self.record.note(site, **refused, reason=f"by the server: {error}")
            return False
        except Exception:  # noqa: BLE001 - a gate: what one site sends must not end the others' job
            _log.exception("the answer of site %s could not be taken", site)
            self.record.note(site, **refused, reason="by the server: its answer cannot be understood")
            return False
        return True

    def _take_prepared(self, site: str, reply: Prepared) -> None:
        if self.record.phase != "preparing":
            raise EgressError("the site announced itself in the middle of the job")
        check_prepared(self.job, reply)
        self.record.note(site, prepared=reply, state="described" if self.job.form.statistics else "ready")

    def _take_settled(self, site: str, reply: Settled) -> None:
        prepared = self.record.sites[site].prepared
        if self.record.phase != "settling" or prepared is None:
            raise EgressError("the site announced itself in the middle of the job")
        check_settled(reply)
        self.record.note(site, prepared=prepared.model_copy(update={"layout": reply.layout}), state="ready")

    def _take_update(self, site: str, reply: Update, payload: Payload) -> None:
        known = self.record.sites[site]
        prepared, trains = known.prepared, self.record.phase == "training"
        if prepared is None:
            raise EgressError("the site sent an update without having announced its records")
        if reply.round != (self.record.round if trains else self.last + 1):
            raise EgressError("the update is of another round")
        metrics = permitted_metrics(reply.metrics, METRICS)
        if trains:
            if not 1 <= reply.records <= prepared.training:
                raise EgressError(f"the site claims {reply.records} records and announced {prepared.training}")
            if not self._open:
                raise JobError("no round is open")
            received = self._weights.take(site, reply.records, payload)
            known = replace(known, bytes_received=known.bytes_received + received, rounds=known.rounds + 1)
        elif size_of(payload):
            raise EgressError("the site sent tensors where none were asked for")
        metrics = self._measured.add(site, metrics, prepared.validation, reply.records if trains else None)
        counted = {"bytes_received": known.bytes_received, "rounds": known.rounds, "restarts": reply.restarts}
        self.record.note(site, **counted, metrics=metrics, state="done")

    def pool(self) -> FeatureStatistics:
        """What the features are like over all sites that described them.

        Raises:
            CloisterError: where too few sites did, or they do not agree on what a feature is.
        """
        with self._lock:
            described = described_features(self.record.sites)
            check_enough(self.job, self.record.sites, described, "describe their features")
            try:
                self._statistics = pooled(described)
            except ValueError as error:
                raise JobError(f"the sites' features cannot be described together: {error}") from error
            return self._statistics

    def begin(self) -> None:
        """Agree on the adapter's tensors, and draw the first adapter.

        Raises:
            CloisterError: where too few sites are prepared.
        """
        with self._lock:
            announced = announced_layouts(self.record.sites)
            agreed = agreed_layout(self.job, announced) if announced else None
            chosen = {} if agreed is None else agreed.sites
            for name in announced.keys() - chosen.keys():
                reason = "by the server: its adapter has other tensors than most sites'"
                self.record.note(name, state="refused", prepared=None, reason=reason)
            check_enough(self.job, self.record.sites, chosen, "are ready")
            if agreed is None:
                raise JobError("no site is ready")
            there = {name: site.prepared.training for name, site in self.record.sites.items() if site.prepared}
            self._agreed = frozenset(chosen)
            self._weights.begin(agreed.layout, chosen, {name: there[name] for name in chosen})
            self._files.begin_state(self._weights.current, self.record.history)

    def next_round(self) -> int | None:
        """Open the next round and give its number, or None after the last."""
        with self._lock:
            number = len(self.record.history) + 1
            if number > self.last:
                return None
            self._weights.open(number)
            self._open = True
            return number

    def finish_round(self) -> None:
        """Close the round: choose, aggregate, and begin to write; the round before is on the disk by then.

        Raises:
            JobError: where too few updates came.
            OSError: where the round before could not be written.
        """
        with self._lock:
            if not self._open:
                raise JobError("no round is open")
            self._open = False
            self._files.settle()
            number = self.record.round
            check_enough(self.job, self.record.sites, self.record.done, f"gave an update in round {number}")
            self._score(number - 1)
            self._weights.close_round()
            self.record.round_over(self._measured, self._weights.factor_errors)
            self._files.begin_state(self._weights.current, self.record.history)

    def _score(self, version: int) -> None:
        self._chosen.measured(version, self._measured.together(), lambda: self._weights.write_result(self._files.best))

    def finish(self, before_writing: Callable[[str, int], None] | None = None) -> None:
        """Measure the last adapter, choose the best and write the result.

        Args:
            before_writing: is told the chosen adapter's SHA-256 and round; where it raises, nothing is written.

        Raises:
            JobError: where nothing can be chosen.
            OSError: where something cannot be written.
        """
        with self._lock:
            self._files.settle()
            # The other rounds were measured by at least so many; fewer would let one site decide what is best.
            if len(self._measured) >= self.job.federation.minimum_sites:
                self._score(self.last)
            chosen = self._chosen.to_json()
            self._files.keep_best()
            digest = sha256_of_file(self._files.best)
            if before_writing:
                before_writing(digest, chosen["round"])
            self.record.completed()
            result = self.record.result(self._statistics) | {"chosen": chosen, "after": self._measured.together()}
            result |= {"adapter_sha256": digest, "after_by_site": self._measured.by_site()}
            self._files.write_result(result, self._chosen.config)
            self._weights.close()

    def finish_described(self, before_writing: Callable[[str, int], None] | None = None) -> None:
        """Write what the features are like, which is all that a job of task `statistics` gives.

        Args:
            before_writing: is told the description's SHA-256; where it raises, nothing is written.

        Raises:
            JobError: where nothing was described.
        """
        with self._lock:
            if self._statistics is None:
                raise JobError("no site described its features")
            if before_writing:
                before_writing(sha256_of(canonical_json(self._statistics.model_dump(mode="json"))), 0)
            self.record.completed()
            self._files.write_result(self.record.result(self._statistics))
            self._weights.close()

    def fail(self, reason: str, *, denied: bool = False) -> None:
        """Note why the job failed, and whether it was that policies said no."""
        with self._lock:
            self.record.failed(reason, denied=denied)
            self._weights.close()
            self._files.write_failure(self.progress())

    def progress(self) -> dict[str, Any]:
        """Everything that may be told about the job, as plain values; does not wait for what is being combined."""
        return self.record.progress()


def _one_line(text: str) -> str:
    """What a site says, fit for a terminal and a table: one line, without control characters."""
    return "".join(character if character.isprintable() else " " for character in text)
