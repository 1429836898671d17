# SPDX-License-Identifier: Apache-2.0
"""One simulated job: the server's rounds, and every site's gates, trainer and egress, without what lies between them.

What a site answers is what `cloister.flare.executor` would send, and the course is `cloister.flare.course`. Sites are
worked off by a few threads; their answers are taken in a fixed order, so that nothing depends on which was first.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from cloister.errors import CloisterError, DeniedError
from cloister.files import private_folder
from cloister.flare.course import run_course
from cloister.flare.exchange import TaskName
from cloister.flare.job_view import JobView, failure_of, not_admitted
from cloister.flare.reason import reason_of
from cloister.flare.rounds import Rounds
from cloister.flare.state import State
from cloister.flare.task import Task
from cloister.simulation.crew import Crew
from cloister.simulation.plan import Plan
from cloister.simulation.site import Site
from cloister.simulation.views import Views

_LATE = "was not waited for"


class Simulation:
    """One simulated job.

    Args:
        plan: what is simulated.
        work: a private, empty folder inside the federation's state folder, for views, logs and weights.

    Attributes:
        logs: where the trainers' own words are.
        result: folder with what the server's job process would leave.
    """

    def __init__(self, plan: Plan, work: Path) -> None:
        self._plan = plan
        state = State(plan.root)
        private_folder(state.folder / "logs")
        self.logs = tuple(state.log(f"simulated-trainer-{number + 1}") for number in range(plan.workers))
        self.result = work / "server" / "cloister"
        views = Views(plan.root, plan.document.value, private_folder(work / "wholes"), plan.skew)
        self._crew = Crew(private_folder(work / "sites"), (state.folder,), self.logs)
        self._sites = {site.name: Site(plan, site, views, self._crew, work) for site in plan.cast.sites}
        self._refusals: dict[str, str] = {}
        self._rounds: Rounds | None = None
        self._completed = False

    @property
    def view(self) -> JobView:
        """How far it is; may be asked from any thread."""
        status = "FINISHED:COMPLETED" if self._completed else "RUNNING"
        progress = self._rounds.progress() if self._rounds else {}
        return JobView(
            self._plan.job_id, self._plan.document.value.job, status, refusals=dict(self._refusals), progress=progress
        )

    def run(self) -> None:
        """Run the job to its end.

        Raises:
            CloisterError: where it fails, in the words of a real run.
        """
        try:
            self._run()
        finally:
            self.stop()

    def stop(self) -> None:
        """End all trainers and remove the views; may be called from any thread, more than once."""
        self._crew.close()
        for site in self._sites.values():
            site.close()

    def _run(self) -> None:
        job = self._plan.document.value
        there = self._admitting()
        if len(there) < job.federation.minimum_sites:
            raise not_admitted(job.job, self._refusals)
        self._rounds = rounds = Rounds(self._plan.document, self._plan.job_id, there, self.result)
        try:
            with ThreadPoolExecutor(self._plan.workers, "simulated-site") as pool:
                try:
                    run_course(rounds, partial(self._ask, rounds, pool))
                except BaseException:
                    self._crew.close()  # so that whoever is at work ends
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        except CloisterError as error:
            rounds.fail(str(error), denied=isinstance(error, DeniedError))
            raise failure_of(self.view, None) from error
        self._completed = True

    def _admitting(self) -> list[str]:
        for name, site in self._sites.items():
            try:
                site.admit()
            except CloisterError as error:
                word = "denied" if isinstance(error, DeniedError) else "refused"
                self._refusals[name] = f"{word}: {reason_of(error)}"
        return sorted(self._sites.keys() - self._refusals.keys())

    def _ask(
        self, rounds: Rounds, pool: ThreadPoolExecutor, task: TaskName, sites: list[str], parts: list[Task]
    ) -> None:
        """Ask ``sites`` and hand in their answers.

        With `enough_sites`, in a federation the fastest count. Here they are drawn, and the others are late.
        """
        number = parts[0].ask.round if parts else 0
        rounds.ask(task, number, sites)
        asked = {site: part for part in parts for site in part.sites}
        first = _drawn(sites, f"{rounds.job.seed}/{number}") if rounds.job.federation.enough_sites else sorted(sites)
        answers = [(site, pool.submit(self._sites[site].answer, task, asked[site])) for site in first]
        for site, answer in answers:
            reply, tensors = answer.result()
            if rounds.is_enough():
                rounds.record.late(site)
                rounds.absent(site, _LATE)
            else:
                rounds.take(site, reply, tensors)


def _drawn(sites: list[str], chance: str) -> list[str]:
    return sorted(sites, key=lambda site: hashlib.sha256(f"simulation/{chance}/{site}".encode()).digest())
