# SPDX-License-Identifier: Apache-2.0
"""What every gate of a job at a site does: see that the policies still stand, ask them, write down what they say.

Where they do not stand, where that cannot be told, and where what happens cannot be recorded, the job is over here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cloister.audit import Fact, Kind, Log
from cloister.documents import Document
from cloister.errors import DeniedError
from cloister.flare.admitted import Admitted
from cloister.flare.audit_log import facts_of_decision
from cloister.flare.state import SiteSettings
from cloister.flare.turns import Turns
from cloister.jobs import Job
from cloister.policies import Leaving, Policies, Request, ViewFacts, decide


@dataclass
class SiteGates:
    """The gates of one job at this site.

    Attributes:
        settings: where the site's things lie.
        document: the job.
        admitted: under whom and which policy it was admitted.
        code: digest of the training code that the job brings; None where it brings none.
        clock: gives the moment that policies are judged by, aware, UTC; asked anew at every gate.
        log: the site's audit log.
        standing: sees that the policies still stand.
        turns: which of its rounds the site was asked for.
        over: ends the job at this site.
        view: what is known of the view; None before it was written.
    """

    settings: SiteSettings
    document: Document[Job]
    admitted: Admitted
    code: str | None
    clock: Callable[[], datetime]
    log: Log
    standing: Callable[[SiteSettings, Policies], None]
    turns: Turns
    over: Callable[[], None]
    view: ViewFacts | None = None

    @property
    def policies(self) -> Policies:
        """The policies that the job was admitted under."""
        return self.admitted.site.policies

    def check_standing(self) -> None:
        """See that the policies still stand; where they do not, or it cannot be told, the job is over here."""
        try:
            self.standing(self.settings, self.policies)
        except BaseException:
            self.over()
            raise

    def decide(self, leaving: Leaving | None = None) -> None:
        """Ask the policies about the job as it is now.

        Args:
            leaving: what would leave the site; None before anything does.

        Raises:
            DeniedError: where they say no.
            CloisterError: where they no longer stand, or the decision cannot be recorded.
        """
        self.check_standing()
        submitter, silo = self.admitted.submitter, self.admitted.site.silo
        request = Request(
            self.settings.site, submitter, self.document, silo, code=self.code, view=self.view, leaving=leaving
        )
        decision = decide(request, self.policies, self.clock())
        point = "egress" if leaving else "view" if self.view else "start"
        self.record(Kind.DECISION, {"point": point, "policy": self.policies.digest, **facts_of_decision(decision)})
        if not decision.allowed:
            raise DeniedError(decision.sentence())

    def record(self, kind: Kind, facts: Mapping[str, Fact]) -> None:
        """Write into the site's audit log; what could not be written must not happen."""
        try:
            self.log.append(kind, facts, job=self.admitted.job_id, number=self.turns.last)
        except BaseException:
            self.over()
            raise
