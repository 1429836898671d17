# SPDX-License-Identifier: Apache-2.0
"""One simulated site: it decides, and answers tasks, as its processes would in a federation."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from cloister.audit import FOLDER, Log
from cloister.errors import DeniedError, JobError
from cloister.files import private_folder, sha256_of
from cloister.flare.admitted import Admitted, mode_of
from cloister.flare.base_model import find_base_model
from cloister.flare.exchange import Reply, TaskName
from cloister.flare.payload import Payload
from cloister.flare.refusal import refusal_of
from cloister.flare.site_job import SiteJob
from cloister.flare.state import SiteSettings, State
from cloister.flare.task import Task
from cloister.policies import Policies, Request, decide
from cloister.sandbox import SandboxMode, missing
from cloister.simulation.cast import SimulatedSite
from cloister.simulation.crew import Crew
from cloister.simulation.plan import Plan
from cloister.simulation.views import Views


class Site:
    """A site of a simulation; one thread at a time may call it, but for `close`.

    Args:
        plan: what is simulated.
        site: which site it is.
        views: writes its view.
        crew: has its trainer.
        work: the simulation's folder.
    """

    def __init__(self, plan: Plan, site: SimulatedSite, views: Views, crew: Crew, work: Path) -> None:
        self._plan, self._site, self._views, self._crew, self._work = plan, site, views, crew, work
        self._job: SiteJob | None = None

    def admit(self) -> None:
        """Decide as `cloister.flare.admission` does on a job whose signatures and manifest are in order.

        Raises:
            CloisterError: where the job is not admitted.
        """
        plan, documents = self._plan, self._site.documents
        code = None if plan.code is None else plan.code.digest
        request = Request(self._site.name, plan.submitter, plan.document, documents.silo, code)
        decision = decide(request, documents.policies, plan.clock())
        if not decision.allowed:
            raise DeniedError(decision.sentence())
        if mode_of(documents.policies) is SandboxMode.BUBBLEWRAP and (reason := missing()):
            raise DeniedError(f"the policy demands a sandbox, and this site has none: {reason}")

    def answer(self, task: TaskName, part: Task) -> tuple[Reply, Payload]:
        """What the site's job process would send: the reply, and encoded tensors where it trained."""
        reply: Reply
        try:
            reply, tensors = self._answer(task, part)
        except Exception as error:  # noqa: BLE001 - a gate: whatever goes wrong inside denies
            return refusal_of(error, task), b""
        return type(reply).model_validate_json(reply.model_dump_json()), tensors  # as it travels

    def close(self) -> None:
        """Remove its view; may be called from any thread, more than once."""
        if self._job is not None:
            self._job.close()

    def _answer(self, task: TaskName, part: Task) -> tuple[Reply, Payload]:
        if task is TaskName.PREPARE:
            self._job = self._opened()
            return self._job.prepare(), b""
        job = self._job
        if job is None:
            raise JobError("the server asked for a round before the site was ready")
        if task is TaskName.SETTLE:
            if part.ask.statistics is None:
                raise JobError("the server does not say what the features are like")
            return job.settle(part.ask.statistics), b""
        if task is TaskName.TRAIN:
            return job.train(part.ask, part.payload)
        return job.evaluate(part.ask, part.payload), b""

    def _opened(self) -> SiteJob:
        """The job at this site, as `SiteJob.open` finds an admitted one."""
        plan, name, documents = self._plan, self._site.name, self._site.documents
        workspace = private_folder(self._work / "workspaces" / name)
        mode, digest = mode_of(documents.policies), sha256_of(plan.document.text)
        return SiteJob(
            settings=SiteSettings(name, plan.root, workspace, State(plan.root).folder),
            document=plan.document,
            admitted=Admitted(plan.job_id, digest, plan.submitter, documents, mode),
            base_model=find_base_model(plan.root, documents.silo.value, plan.document.value),
            private=private_folder(self._work / "sites" / name),
            clock=plan.clock,
            log=Log(workspace / FOLDER, name),
            code=plan.code,
            standing=_as_it_lies,
            make_view=partial(self._views.write, self._site),
            make_trainer=self._crew.visitor,
        )


def _as_it_lies(_settings: SiteSettings, _policies: Policies) -> None:
    """No policy is in force on a data scientist's machine: each counts as it lies in the folder."""
