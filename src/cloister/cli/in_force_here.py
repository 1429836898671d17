# SPDX-License-Identifier: Apache-2.0
"""Whether sites' policies are in force by what lies on this machine."""

from __future__ import annotations

from datetime import datetime

from cloister.cli.officers import anchors_of
from cloister.errors import CloisterError, FederationError
from cloister.flare.processes import LocalFederation
from cloister.governance.in_force import policy_in_force
from cloister.governance.policy_versions import PolicyVersions
from cloister.repository import Repository


def not_in_force_here(repo: Repository, local: LocalFederation, site: str, now: datetime) -> str:
    """Why ``site`` would take no jobs at all now; empty where it would, or where nothing here can tell."""
    try:
        anchors = anchors_of(local)
    except FederationError:  # nothing is provisioned here
        return ""
    versions = PolicyVersions(local.state.site(site))
    try:
        policy_in_force(repo.root, site, local.federation, anchors, versions, now, take_up=False)
    except CloisterError as error:
        return str(error)
    return ""
