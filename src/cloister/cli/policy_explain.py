# SPDX-License-Identifier: Apache-2.0
"""`cloister policy explain`: a policy in plain English, or one decision by it, rule by rule."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cloister.cli.options import FolderOption, JsonOption, PersonOption, job_of, output, person_of, repository
from cloister.cli.policy_names import NameArgument, policy_names
from cloister.documents import Document
from cloister.errors import UsageError
from cloister.files import write_atomically
from cloister.policies import BASELINE, Decision, Policy, Request, decide
from cloister.policies.trial import person_of as submitter_of
from cloister.reports.policy_floor import tightened
from cloister.reports.policy_page import policy_page
from cloister.reports.policy_words import Passage, passages, silences
from cloister.repository import Repository, code_digest

HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Also write it as one page to print, into FILE.")
]
JobOption = Annotated[
    str, typer.Option("--job", metavar="JOB", help="Say instead how a job would be answered, rule by rule.")
]

_WORDS = {"allow": "allows", "deny": "DENIES", "waived": "denies, which is waived", "not-applicable": "says nothing"}


def explain(
    name: NameArgument,
    html: HtmlOption = None,
    job: JobOption = "",
    person: PersonOption = "",
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Say a policy in plain English.

    With --job: one decision, rule by rule, with the lines that it rests on.
    """
    del as_json
    repo = repository(folder)
    (known,) = policy_names(repo, [name])
    if job:
        if html is not None:
            raise UsageError("`--html` is the page of a policy, not of a decision", hint="leave out --job or --html")
        _explain_decision(repo, known, job, person)
        return
    document, baseline = repo.policies[known], repo.policies[BASELINE]
    sections = _sections(document, baseline)
    out = output()
    for passage, place in sections:
        out.say(f"{passage.title} ({place})")
        for sentence in passage.sentences:
            out.say(f"  - {sentence}")
        out.say()
    if html is not None:
        try:
            write_atomically(html, policy_page(document, baseline).encode(), mode=0o644)
        except OSError as error:  # it would name the temporary file
            raise UsageError(f"`{html}` cannot be written: {error.strerror}", hint="name a file in a folder") from error
        out.say(f"written to {html}")
    value = [{"title": each.title, "at": place, "sentences": each.sentences} for each, place in sections]
    out.result({"policy": known, "sections": value})


def _sections(document: Document[Policy], baseline: Document[Policy]) -> list[tuple[Passage, str]]:
    policy = document.value
    found = [(passage, document.source.at(passage.key)) for passage in passages(policy)]
    if floor := tightened(policy, baseline.value):
        found.append((Passage("What the baseline tightens", "", floor), baseline.source.file))
    if silent := silences(policy):
        title = "What it leaves to the sites" if policy.is_baseline else "Denied, because it is not written"
        found.append((Passage(title, "", silent), document.source.file))
    return found


def _explain_decision(repo: Repository, site: str, name: str, person: str) -> None:
    if site == BASELINE:
        raise UsageError("the baseline answers no job by itself", hint="name a site")
    if site not in repo.silos:
        raise UsageError(f"the silo of `{site}` is not in this folder", hint=f"have `silos/{site}.yaml` sent to you")
    job, who = job_of(repo, name), person_of(repo, person)
    submitter, code = submitter_of(repo.federation.value, who), code_digest(repo.root, job.value)
    request = Request(site, submitter, job, repo.silos[site], code=code)
    decision = decide(request, repo.policies_of(site), datetime.now(UTC))
    out = output()
    out.say(f"{site} would answer {job.value.job} from {who} today: {'allowed' if decision.allowed else 'DENIED'}")
    for sentence in _rule_by_rule(decision):
        out.say(f"  {sentence}")
    out.result({"site": site, "job": job.value.job, "submitter": who, **decision.to_json()})


def _rule_by_rule(decision: Decision) -> list[str]:
    found = []
    for outcome in decision.outcomes:
        places = "; ".join(place for place in (outcome.policy_at, outcome.job_at) if place)
        whose = "the baseline" if outcome.document == "baseline" else "the site's policy"
        said = f"{outcome.rule}: {whose} {_WORDS[outcome.effect.value]}: {outcome.message}"
        found.append(said + (f" ({places})" if places else ""))
    return found
