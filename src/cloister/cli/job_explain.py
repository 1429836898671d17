# SPDX-License-Identifier: Apache-2.0
"""`cloister job explain`: may each site accept this job, and which rule and line say no?"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from cloister.cli.in_force_here import not_in_force_here
from cloister.cli.options import (
    FolderOption,
    JobArgument,
    JsonOption,
    PersonOption,
    federation_of,
    job_of,
    output,
    person_of,
    repository,
)
from cloister.documents import Document
from cloister.errors import DeniedError
from cloister.jobs import Job, code_of
from cloister.policies import RULES, Decision, Request, Submitter, decide
from cloister.repository import Repository

_SIGNS = {"deny": "NO", "waived": "waived", "allow": "yes", "not-applicable": "-"}


def explain(
    job: JobArgument, person: PersonOption = "", folder: FolderOption = Path(), as_json: JsonOption = False
) -> None:
    """Say which sites would accept a job, and why not.

    Decides on the policies in this folder; nothing is started or sent.
    """
    del as_json
    repo = repository(folder)
    document, name = job_of(repo, job), person_of(repo, person)
    decisions = _decisions(repo, document, name)
    elsewhere = [site for site in repo.sites_of(document.value) if site not in decisions]
    out = output()
    table = Table("rule", *decisions, box=None, pad_edge=False)
    for rule in RULES:
        table.add_row(rule.id, *(_sign(decision, rule.id) for decision in decisions.values()))
    out.say(table)
    for site, decision in decisions.items():
        if repo.policies_of(site).sandbox == "unsafe-none":
            out.say(f"{site}: sandbox: unsafe-none: training code would run there without isolation")
        for outcome in (*decision.refusals, *decision.waived):
            places = "; ".join(place for place in (outcome.policy_at, outcome.job_at) if place)
            out.say(f"{site}: {outcome.rule}: {outcome.message}" + (f" ({places})" if places else ""))
    local, now = federation_of(repo), datetime.now(UTC)
    here = {site: not_in_force_here(repo, local, site, now) for site in decisions}
    for site, why in here.items():
        if why:
            out.say(f"{site}: whatever its policy says, it is not in force here: {why}")
    for site in elsewhere:
        out.say(f"{site}: its documents are not in this folder; it answers when the job is submitted")
    allowed = sum(decision.allowed for decision in decisions.values())
    asked = len(decisions) + len(elsewhere)
    count = "1 site" if asked == 1 else f"{asked} sites"
    out.say(f"{allowed} of {count} would accept {document.value.job} from {name}")
    out.result(
        {site: decision.to_json() | {"not_in_force": here[site] or None} for site, decision in decisions.items()}
        | dict.fromkeys(elsewhere)
    )
    needed = document.value.federation.minimum_sites
    if allowed + len(elsewhere) < needed:
        sites = "1 site" if allowed == 1 else f"{allowed} sites"
        raise DeniedError(f"{sites} would accept the job, and it needs {needed}")


def _decisions(repo: Repository, document: Document[Job], person: str) -> dict[str, Decision]:
    """The decision of every site that the job asks and whose documents are here."""
    entry = repo.federation.value.person(person)
    role = entry.role.value if entry else ""
    submitter = Submitter(person, entry.organisation if entry else "", role)
    now = datetime.now(UTC)
    brought = code_of(repo.root, document.value)
    code = None if brought is None else brought.digest
    return {
        site: decide(Request(site, submitter, document, repo.silos[site], code), repo.policies_of(site), now)
        for site in repo.sites_of(document.value)
        if site in repo.silos_with_policy()
    }


def _sign(decision: Decision, rule: str) -> str:
    effects = {outcome.effect.value for outcome in decision.outcomes if outcome.rule == rule}
    return next(_SIGNS[effect] for effect in _SIGNS if effect in effects)
