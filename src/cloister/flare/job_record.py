# SPDX-License-Identifier: Apache-2.0
"""What the server tells of a job: how far it is, what each site does, and what came of every round.

People ask at any time, also while hundreds of megabytes are looked at or combined. The record has a lock of its own,
under which nothing happens but its own book-keeping.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cloister.documents import Document
from cloister.files import sha256_of
from cloister.flare.factor_errors import FactorErrors
from cloister.flare.measurements import Measurements
from cloister.flare.site_progress import SiteProgress
from cloister.jobs import Job
from cloister.jobs.statistics import FeatureStatistics


class JobRecord:
    """What is told of one job.

    Args:
        document: the job.
        job_id: NVFlare's identifier.
        sites: those that were invited and admitted the job.
    """

    def __init__(self, document: Document[Job], job_id: str, sites: Iterable[str]) -> None:
        self._document, self._job_id = document, job_id
        self._lock = threading.Lock()
        self._sites = {site: SiteProgress() for site in sites}
        self._phase = "preparing"
        self._reason = ""
        self._denied = False
        self._round = 0
        self._started = time.time()
        self._round_started = self._started
        self._history: list[dict[str, Any]] = []
        self._travelled: dict[str, tuple[int, int]] = {}

    @property
    def document_digest(self) -> str:
        """SHA-256 of the job's document."""
        return sha256_of(self._document.text)

    @property
    def phase(self) -> str:
        """What the sites were asked last, as a word for people; at the end how the job ended."""
        with self._lock:
            return self._phase

    @property
    def round(self) -> int:
        """The round that runs or ran last, from 1; 0 before the first."""
        with self._lock:
            return self._round

    @property
    def sites(self) -> dict[str, SiteProgress]:
        """What is known now of every invited site."""
        with self._lock:
            return dict(self._sites)

    @property
    def history(self) -> list[dict[str, Any]]:
        """What is known of each finished round."""
        with self._lock:
            return list(self._history)

    @property
    def done(self) -> list[str]:
        """Sites whose answer counted since they were last asked, sorted."""
        return sorted(name for name, site in self.sites.items() if site.state == "done")

    def note(self, name: str, **changes: Any) -> None:
        """Change what is known of site ``name``; all at once, as `dataclasses.replace` does."""
        with self._lock:
            self._sites[name] = replace(self._sites[name], **changes)

    def asked(self, phase: str, number: int, sites: Iterable[str], *, passed_over: Iterable[str]) -> None:
        """Note that ``sites`` are being asked, and that those ``passed_over`` take part and are not."""
        with self._lock:
            self._phase, self._round, self._round_started = phase, number, time.time()
            for name in sites:
                self._sites[name] = replace(self._sites[name], state=phase, reason="", denied=False)
            for name in passed_over:
                self._sites[name] = replace(self._sites[name], state="not asked", reason="", denied=False)

    def late(self, name: str) -> None:
        """Note that an answer came from ``name`` after its round was over."""
        with self._lock:
            if name in self._sites:
                self._sites[name] = replace(self._sites[name], late=self._sites[name].late + 1)

    def travelled(self, bytes_by_site: Mapping[str, tuple[int, int]]) -> None:
        """Note how many bytes came from each site and went to it so far, as counted at the server's socket."""
        with self._lock:
            for name, socket in bytes_by_site.items():
                if name in self._sites:
                    self._sites[name] = replace(self._sites[name], socket=socket)

    def round_over(self, measured: Measurements, errors: FactorErrors | None = None) -> None:
        """Note what came of the round that ends.

        Args:
            measured: by the sites, of the weights that it began with.
            errors: of the factors that it ends with; None where the job's rule sums no products.
        """
        entry = {
            "before": measured.together(),
            "before_by_site": measured.by_site(),
            "train_loss": measured.train_loss(),
            "sites": self.done,
            "factors": None if errors is None else errors.to_json(),
        }
        with self._lock:
            told = {"seconds": round(time.time() - self._round_started, 3), "socket": self._since_last_round()}
            self._history.append({"round": self._round} | entry | told)

    def completed(self) -> None:
        """Note that the job has its result."""
        with self._lock:
            self._phase = "completed"

    def failed(self, reason: str, *, denied: bool) -> None:
        """Note why the job failed, and whether it was that policies said no."""
        with self._lock:
            self._phase, self._reason, self._denied = "failed", reason, denied

    def progress(self) -> dict[str, Any]:
        """Everything that may be told about the job while it runs, as plain values."""
        with self._lock:
            return {
                "job_id": self._job_id,
                "job_name": self._document.value.job,
                "phase": self._phase,
                "reason": self._reason,
                "denied": self._denied,
                "round": self._round,
                "rounds": self._document.value.federation.rounds,
                "seconds": round(time.time() - self._started, 1),
                "history": list(self._history),
                "sites": {name: site.to_json() for name, site in sorted(self._sites.items())},
            }

    def result(self, statistics: FeatureStatistics | None) -> dict[str, Any]:
        """What is told of the job afterwards.

        Args:
            statistics: of the features over all sites; None where nothing was described.
        """
        by_site = {
            name: site.prepared.statistics.model_dump(mode="json")
            for name, site in sorted(self.sites.items())
            if site.prepared is not None and site.prepared.statistics is not None
        }
        return self.progress() | {
            "job": self._document.value.model_dump(mode="json"),
            "job_sha256": self.document_digest,
            "statistics": None if statistics is None else statistics.model_dump(mode="json"),
            "statistics_by_site": by_site,
        }

    def _since_last_round(self) -> dict[str, dict[str, int]]:
        """Bytes at the server's socket in the round that ends, by site; with the first one goes all that was before."""
        now = {name: site.socket for name, site in sorted(self._sites.items()) if site.socket is not None}
        before, self._travelled = self._travelled, now
        return {
            name: {"received": received - before.get(name, (0, 0))[0], "sent": sent - before.get(name, (0, 0))[1]}
            for name, (received, sent) in now.items()
        }
