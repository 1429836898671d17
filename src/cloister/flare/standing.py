# SPDX-License-Identifier: Apache-2.0
"""Whether a running job's policy still stands: nobody has revoked the version that it was admitted under."""

from __future__ import annotations

from cloister.flare.state import SiteSettings
from cloister.governance.policy_versions import PolicyVersions
from cloister.governance.revocation import check_not_revoked
from cloister.policies import Policies
from cloister.provisioning.kit import ROOT_FILE
from cloister.provisioning.pem import read_certificate


def check_standing(settings: SiteSettings, policies: Policies) -> None:
    """See that neither of ``policies`` was revoked; asked at every gate.

    Args:
        settings: of the site.
        policies: those that the job was admitted under.

    Raises:
        CloisterError: where one was, or it cannot be told.
    """
    authority = read_certificate(settings.workspace / "startup" / ROOT_FILE)
    versions = PolicyVersions(settings.workspace)
    for policy in (policies.site, policies.baseline):
        check_not_revoked(settings.root, policy, authority, versions)
