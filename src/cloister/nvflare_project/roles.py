# SPDX-License-Identifier: Apache-2.0
"""What becomes of NVFlare's roles, whose rights stand in `default_authz` of `lighter/templates/master_template.yml`.

Here nobody may do everything. Whoever runs the server, whoever trains and whoever decides are three people; no role
runs commands at sites; and a compliance officer signs nothing until the roster's `officers` name them.
"""

from __future__ import annotations

from collections.abc import Mapping

from cloister.roster import Role

_EXPLAINED: Mapping[str, tuple[Role, str]] = {
    "project_admin": (
        Role.IT_ADMIN,
        "runs the server, where it might do everything; here whoever runs the server submits no jobs and runs no "
        "commands at sites",
    ),
    "super": (
        Role.IT_ADMIN,
        "was allowed everything everywhere, for tests; here nobody is, and whoever runs the server submits no jobs",
    ),
    "org_admin": (
        Role.COMPLIANCE_OFFICER,
        "answers for the sites of an organisation; here by signing their policies, once `officers` names them, and not "
        "by commands or by deleting jobs",
    ),
    "lead": (
        Role.DATA_SCIENTIST,
        "submits jobs; here each site's own policy decides about each of them, code of their own needs a site's "
        "approval, and there are no commands at sites",
    ),
    "member": (
        Role.COMPLIANCE_OFFICER,
        "looks and submits nothing; signs nothing either, as no `officers` names them",
    ),
}


def role_of(role: str) -> tuple[Role, str]:
    """What an admin with NVFlare's ``role`` is here, and why.

    A role of a project's own may be anything, as each site's `authorization.json` says; it becomes the one with which
    one can only look.
    """
    least = "is a role of this project's own, whose rights are not in this file; looks and submits nothing"
    return _EXPLAINED.get(role, (Role.COMPLIANCE_OFFICER, least))
