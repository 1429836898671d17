# SPDX-License-Identifier: Apache-2.0
"""`cloister policy verify`: whether policies hold: signed, by whom they may be, within their dates, not revoked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from cloister.certificates import Anchors
from cloister.cli.officers import anchors_of
from cloister.cli.options import FolderOption, JsonOption, federation_of, output, repository
from cloister.cli.policy_names import policy_names
from cloister.cli.policy_sign import PoliciesArgument
from cloister.documents import Document
from cloister.errors import DeniedError
from cloister.flare.processes import LocalFederation
from cloister.governance.in_force import check_policy
from cloister.governance.policy_versions import PolicyVersions
from cloister.policies import BASELINE, Policy
from cloister.repository import Repository


def verify(names: PoliciesArgument = None, folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Check signature, signer, version, dates and revocation.

    Also against what sites on this machine remember.
    """
    del as_json
    repo = repository(folder)
    local = federation_of(repo)
    anchors, now = anchors_of(local), datetime.now(UTC)
    wanted = policy_names(repo, names)
    verdicts = [verdict(repo, local, repo.policies[name], anchors, now) for name in wanted]
    if BASELINE not in wanted:
        baseline = verdict(repo, local, repo.policies[BASELINE], anchors, now)["problem"]
        verdicts = [each | {"baseline": baseline} for each in verdicts]
    table = Table("policy", "version", "signed by", "until", "holds", box=None, pad_edge=False)
    for each in verdicts:
        holds = "no" if each["problem"] else "yes"
        table.add_row(each["policy"], str(each["version"]), each["by"] or "-", each["until"] or "-", holds)
    out = output()
    out.say(table)
    out.result(verdicts)
    failed = [each for each in verdicts if each["problem"]]
    if BASELINE not in wanted and (lacking := verdicts[0]["baseline"]):
        out.say(f"a site takes jobs only under the baseline as well, which does not hold: {lacking}")
    for each in failed[1:]:
        out.say(f"{each['policy']}: {each['problem']}")
    if failed:
        raise DeniedError(failed[0]["problem"])


def verdict(
    repo: Repository, local: LocalFederation, policy: Document[Policy], anchors: Anchors, now: datetime
) -> dict[str, Any]:
    """Whether one policy holds, and for how long, as a JSON object."""
    name = policy.value.policy
    by, at, until, problem = "", "", "", ""
    try:
        signed = check_policy(repo.root, policy, local.federation, anchors, now)
        by, at = signed.by, signed.at
        sites = [site.name for site in local.federation.sites] if name == BASELINE else [name]
        for site in sites:
            if local.state.site(site).is_dir():
                PolicyVersions(local.state.site(site)).check([policy])
        until = min(policy.value.valid_until, signed.lapses).isoformat()
    except DeniedError as error:
        problem = str(error)
    return {
        "policy": name,
        "version": policy.value.version,
        "by": by or None,
        "signed_at": at or None,
        "until": until or None,
        "problem": problem or None,
    }
