# SPDX-License-Identifier: Apache-2.0
"""What the server knows of one job, round by round; no NVFlare in here.

An update counts only if it is what the site announced: tensors of the agreed layout, all finite, and no more records
than the manifest of the site's view said at the start. A site cannot buy itself weight by claiming records.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloister.aggregation import mean_of_metrics
from cloister.documents import Document
from cloister.egress import permitted_metrics
from cloister.errors import CloisterError, EgressError, JobError
from cloister.files import canonical_json, sha256_of, sha256_of_file
from cloister.flare.agreed_layout import agreed_layout
from cloister.flare.asked_sites import asked_sites
from cloister.flare.chosen_round import ChosenRound
from cloister.flare.exchange import Ask, Prepared, Refusal, Reply, Settled, TaskName, Update
from cloister.flare.leftover_updates import work_folder
from cloister.flare.payload import Payload, discard, size_of
from cloister.flare.quorum import check_minimum, check_release
from cloister.flare.round_files import RoundFiles
from cloister.flare.round_weights import RoundWeights
from cloister.flare.site_progress import SiteProgress
from cloister.jobs import METRICS, AdapterLayout, Job
from cloister.jobs.statistics import FeatureStatistics, answers, pooled

_log = logging.getLogger(__name__)

# Every round is written to disk, once for each site; a layout is a site's word, so it needs a bound.
_MAXIMUM_ADAPTER_BYTES = 4 << 30

_PHASES = {
    TaskName.PREPARE: "preparing",
    TaskName.SETTLE: "settling",
    TaskName.TRAIN: "training",
    TaskName.EVALUATE: "measuring",
}


@dataclass(frozen=True)
class Task:
    """What some sites are asked in one go.

    Attributes:
        sites: who is asked, sorted.
        ask: what.
        payload: encoded weights, as ``ask`` says; empty where there are none.
    """

    sites: tuple[str, ...]
    ask: Ask
    payload: Payload = b""


class Rounds:
    """The rounds of one job.

    Args:
        document: the job.
        job_id: NVFlare's identifier.
        sites: those that were invited and admitted the job.
        folder: where state and result are written.
    """

    def __init__(self, document: Document[Job], job_id: str, sites: list[str], folder: Path) -> None:
        self._document = document
        self.job = document.value
        self.last = self.job.federation.rounds
        self._job_id = job_id
        self._files = RoundFiles(folder)
        self._weights = RoundWeights(document, self._files.folder, work_folder(folder))
        self._lock = threading.RLock()
        self._sites = {site: SiteProgress() for site in sites}
        self._phase = "preparing"
        self._reason = ""
        self._denied = False
        self._round = 0
        self._started = time.time()
        self._round_started = self._started
        self._statistics: FeatureStatistics | None = None
        self._open = False
        self._agreed: frozenset[str] | None = None  # sites that exchange what the job does; None before it is known
        self._measured: dict[str, tuple[dict[str, float], int]] = {}
        self._train_losses: dict[str, tuple[dict[str, float], int]] = {}
        self._history: list[dict[str, Any]] = []
        self._chosen = ChosenRound(self.job.select_by)
        self._travelled: dict[str, tuple[int, int]] = {}

    @property
    def invited(self) -> list[str]:
        """Every site that admitted the job."""
        return sorted(self._sites)

    @property
    def taking_part(self) -> list[str]:
        """Sites that are prepared and ready to train; one that refused a round is asked again in the next."""
        with self._lock:
            there = {name for name, site in self._sites.items() if site.prepared}
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
            return enough is not None and self._phase == "training" and self._weights.updates >= enough

    def most_from(self, site: str) -> int:
        """Bytes of tensors that ``site`` may have to send now: those of an update, and none where none is asked for."""
        # Without the lock: another site's update may be looked at for long, and nothing here changes meanwhile.
        return self._weights.most_from(site) if self._open and self._phase == "training" else 0

    def travelled(self, bytes_by_site: Mapping[str, tuple[int, int]]) -> None:
        """Note how many bytes came from each site and went to it so far, as counted at the server's socket."""
        with self._lock:
            for site, (received, sent) in bytes_by_site.items():
                if site in self._sites:
                    self._sites[site].socket = received, sent

    def late(self, site: str) -> None:
        """Note that an answer came from ``site`` after its round was over; it changes nothing else."""
        with self._lock:
            if site in self._sites:
                self._sites[site].late += 1

    def ask(self, task: TaskName, number: int, sites: list[str]) -> None:
        """Note that ``sites`` are being asked."""
        with self._lock:
            self._phase = _PHASES[task]
            self._round = min(number, self.last)
            self._round_started = time.time()
            self._measured, self._train_losses = {}, {}
            for name in sites:
                self._sites[name].state, self._sites[name].reason, self._sites[name].denied = self._phase, "", False
            for name in set(self.taking_part) - set(sites):
                self._sites[name].state, self._sites[name].reason = "not asked", ""

    def absent(self, site: str, reason: str) -> None:
        """Note that no answer came from ``site``."""
        with self._lock:
            self._sites[site].state, self._sites[site].reason = "absent", reason

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
        progress = self._sites[site]
        if progress.state != self._phase:
            return False
        try:
            if isinstance(reply, Refusal):
                progress.state, progress.reason = "refused", _one_line(reply.reason)
                progress.denied = reply.denied
                return False
            if isinstance(reply, Prepared):
                self._take_prepared(progress, reply)
            elif isinstance(reply, Settled):
                self._take_settled(progress, reply)
            else:
                self._take_update(site, progress, reply, payload)
        except CloisterError as error:
            progress.state, progress.reason = "refused", f"by the server: {error}"
            return False
        except Exception:  # noqa: BLE001 - a gate: what one site sends must not end the others' job
            _log.exception("the answer of site %s could not be taken", site)
            progress.state, progress.reason = "refused", "by the server: its answer cannot be understood"
            return False
        return True

    def _take_prepared(self, progress: SiteProgress, reply: Prepared) -> None:
        if self._phase != "preparing":
            raise EgressError("the site announced itself in the middle of the job")
        describes = self.job.form.statistics
        if describes != (reply.statistics is not None) or describes == (reply.layout is not None):
            raise EgressError("the site announced something else than the job asks for")
        if reply.statistics is not None:
            whole_view = reply.training + reply.validation
            if reply.statistics.records != whole_view or not answers(reply.statistics, self.job):
                raise EgressError("the site describes other records or features than the job's")
        if reply.layout is not None:
            _check_layout(reply.layout)
        progress.prepared, progress.state = reply, "described" if describes else "ready"

    def _take_settled(self, progress: SiteProgress, reply: Settled) -> None:
        if self._phase != "settling" or progress.prepared is None:
            raise EgressError("the site announced itself in the middle of the job")
        _check_layout(reply.layout)
        progress.prepared = progress.prepared.model_copy(update={"layout": reply.layout})
        progress.state = "ready"

    def _take_update(self, site: str, progress: SiteProgress, reply: Update, payload: Payload) -> None:
        prepared = progress.prepared
        if prepared is None:
            raise EgressError("the site sent an update without having announced its records")
        if reply.round != (self._round if self._phase == "training" else self.last + 1):
            raise EgressError("the update is of another round")
        metrics = permitted_metrics(reply.metrics, METRICS)
        if self._phase == "training":
            if not 1 <= reply.records <= prepared.training:
                raise EgressError(f"the site claims {reply.records} records and announced {prepared.training}")
            if not self._open:
                raise JobError("no round is open")
            progress.bytes_received += self._weights.take(site, reply.records, payload)
            progress.rounds += 1
            if "train_loss" in metrics:
                self._train_losses[site] = ({"train_loss": metrics.pop("train_loss")}, reply.records)
        elif size_of(payload):
            raise EgressError("the site sent tensors where none were asked for")
        self._measured[site] = (metrics, prepared.validation)
        progress.metrics, progress.state, progress.restarts = metrics, "done", reply.restarts

    def pool(self) -> FeatureStatistics:
        """What the features are like over all sites that described them.

        Raises:
            CloisterError: where too few sites did, or they do not agree on what a feature is.
        """
        with self._lock:
            described = {
                name: site.prepared.statistics
                for name, site in self._sites.items()
                if site.state == "described" and site.prepared is not None and site.prepared.statistics is not None
            }
            check_minimum(self._sites, self.job.federation.minimum_sites, len(described), "describe their features")
            check_release(self._sites, list(described))
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
            announced = {
                name: AdapterLayout.from_json(site.prepared.layout)
                for name, site in self._sites.items()
                if site.prepared and site.prepared.layout is not None and site.state == "ready"
            }
            agreed = agreed_layout(self.job, announced) if announced else None
            chosen = {} if agreed is None else agreed.sites
            for name in announced.keys() - chosen.keys():
                self._sites[name].state, self._sites[name].prepared = "refused", None
                self._sites[name].reason = "by the server: its adapter has other tensors than most sites'"
            check_minimum(self._sites, self.job.federation.minimum_sites, len(chosen), "are ready")
            check_release(self._sites, list(chosen))
            if agreed is None:
                raise JobError("no site is ready")
            there = {name: site.prepared.training for name, site in self._sites.items() if site.prepared}
            self._agreed = frozenset(chosen)
            self._weights.begin(agreed.layout, chosen, {name: there[name] for name in chosen})
            self._files.write_state(self._weights.current, self._history)

    def next_round(self) -> int | None:
        """Open the next round and give its number, or None after the last."""
        with self._lock:
            if len(self._history) >= self.last:
                return None
            number = len(self._history) + 1
            self._weights.open(number)
            self._open = True
            return number

    def finish_round(self) -> None:
        """Close the round: choose, aggregate, write.

        Raises:
            JobError: where too few updates came.
        """
        with self._lock:
            if not self._open:
                raise JobError("no round is open")
            self._open = False
            said = f"gave an update in round {self._round}"
            check_minimum(self._sites, self.job.federation.minimum_sites, self._weights.updates, said)
            check_release(self._sites, [name for name, site in self._sites.items() if site.state == "done"])
            self._score(self._round - 1)
            self._weights.close_round()
            loss = mean_of_metrics(self._train_losses).get("train_loss")
            self._history.append(
                {
                    "round": self._round,
                    "before": mean_of_metrics(self._measured),
                    "before_by_site": self._by_site(),
                    "train_loss": loss,
                    "sites": sorted(name for name, site in self._sites.items() if site.state == "done"),
                    "seconds": round(time.time() - self._round_started, 3),
                    "socket": self._since_last_round(),
                }
            )
            self._files.write_state(self._weights.current, self._history)

    def _since_last_round(self) -> dict[str, dict[str, int]]:
        """Bytes at the server's socket in the round that ends, by site; with the first one goes all that was before."""
        now = {name: site.socket for name, site in sorted(self._sites.items()) if site.socket is not None}
        before, self._travelled = self._travelled, now
        return {
            name: {"received": received - before.get(name, (0, 0))[0], "sent": sent - before.get(name, (0, 0))[1]}
            for name, (received, sent) in now.items()
        }

    def _by_site(self) -> dict[str, dict[str, float]]:
        return {site: metrics for site, (metrics, _) in sorted(self._measured.items())}

    def _score(self, version: int) -> None:
        metrics = mean_of_metrics(self._measured)
        self._chosen.measured(version, metrics, lambda: self._weights.write_result(self._files.best))

    @property
    def document_digest(self) -> str:
        """SHA-256 of the job's document."""
        return sha256_of(self._document.text)

    def finish(self, before_writing: Callable[[str, int], None] | None = None) -> None:
        """Measure the last adapter, choose the best and write the result.

        Args:
            before_writing: is told the chosen adapter's SHA-256 and round; where it raises, nothing is written.

        Raises:
            JobError: where nothing can be chosen.
        """
        with self._lock:
            final = mean_of_metrics(self._measured)
            # The other rounds were measured by at least so many; fewer would let one site decide what is best.
            if len(self._measured) >= self.job.federation.minimum_sites:
                self._score(self.last)
            chosen = self._chosen.to_json()
            digest = sha256_of_file(self._files.best)
            if before_writing:
                before_writing(digest, chosen["round"])
            self._phase = "completed"
            result = self._result() | {"chosen": chosen, "after": final, "adapter_sha256": digest}
            result["after_by_site"] = self._by_site()
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
            self._phase = "completed"
            self._files.write_result(self._result())
            self._weights.close()

    def _result(self) -> dict[str, Any]:
        said = None if self._statistics is None else self._statistics.model_dump(mode="json")
        by_site = {
            name: site.prepared.statistics.model_dump(mode="json")
            for name, site in sorted(self._sites.items())
            if site.prepared is not None and site.prepared.statistics is not None
        }
        return self.progress() | {
            "job": self.job.model_dump(mode="json"),
            "job_sha256": self.document_digest,
            "statistics": said,
            "statistics_by_site": by_site,
        }

    def fail(self, reason: str, *, denied: bool = False) -> None:
        """Note why the job failed, and whether it was that policies said no."""
        with self._lock:
            self._phase, self._reason, self._denied = "failed", reason, denied
            self._weights.close()
            self._files.write_failure(self.progress())

    def progress(self) -> dict[str, Any]:
        """Everything that may be told about the job, as plain values."""
        with self._lock:
            return {
                "job_id": self._job_id,
                "job_name": self.job.job,
                "phase": self._phase,
                "reason": self._reason,
                "denied": self._denied,
                "round": self._round,
                "rounds": self.last,
                "seconds": round(time.time() - self._started, 1),
                "history": list(self._history),
                "sites": {name: site.to_json() for name, site in sorted(self._sites.items())},
            }


def _check_layout(value: dict[str, Any]) -> None:
    try:
        size = AdapterLayout.from_json(value).bytes
    except ValueError as error:
        raise EgressError("the site announced tensors that are not an adapter's") from error
    if size > _MAXIMUM_ADAPTER_BYTES:
        raise EgressError(f"the site announced an adapter of {size} bytes, more than the server takes")


def _one_line(text: str) -> str:
    """What a site says, fit for a terminal and a table: one line, without control characters."""
    return "".join(character if character.isprintable() else " " for character in text)
