# SPDX-License-Identifier: Apache-2.0
"""Whether what a job was admitted under still stands: as it starts, and while it runs.

A job that runs keeps the policy that admitted it, unless that is revoked. One that has not started yet has nothing to
keep: a server that let months pass in between would start it under a policy that the site has replaced.
"""

from __future__ import annotations

from datetime import datetime

from cloister.errors import DeniedError
from cloister.flare.admitted import Admitted
from cloister.flare.job_folder import App
from cloister.flare.state import SiteSettings
from cloister.governance.job_manifest import verify_manifest
from cloister.governance.policy_versions import PolicyVersions
from cloister.governance.revocation import check_not_revoked
from cloister.policies import Policies
from cloister.repository import load_site
from cloister.trust import trust_in_force

_AGAIN = "submit the job again"


def check_start(settings: SiteSettings, app: App, admitted: Admitted, now: datetime) -> None:
    """See that an admitted job may still start: asked once, as its process takes it up.

    Args:
        settings: of the site.
        app: the job's app, as it was admitted.
        admitted: the record of its admission.
        now: aware time.

    Raises:
        CloisterError: where its manifest has expired, its submitter has left the roster, or another policy is in force
            than the one that admitted it.
    """
    trust = trust_in_force(settings.workspace)
    verify_manifest(app.manifest, trust.federation, trust.anchors, now)
    if load_site(settings.root, settings.site).policies.digest != admitted.site.policies.digest:
        raise DeniedError("the site's policy was replaced after the job was admitted and before it began", hint=_AGAIN)


def check_standing(settings: SiteSettings, policies: Policies) -> None:
    """See that neither of ``policies`` was revoked; asked at every gate.

    Args:
        settings: of the site.
        policies: those that the job was admitted under.

    Raises:
        CloisterError: where one was, or it cannot be told.
    """
    anchors = trust_in_force(settings.workspace).anchors
    versions = PolicyVersions(settings.workspace)
    for policy in (policies.site, policies.baseline):
        check_not_revoked(settings.root, policy, anchors, versions)
