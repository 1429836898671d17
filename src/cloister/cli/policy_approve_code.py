# SPDX-License-Identifier: Apache-2.0
"""`cloister policy approve-code`: read a job's training code, and let it train on a site's records until a date."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from cloister.cli.officers import check_is_theirs, officer_of
from cloister.cli.options import FolderOption, JobArgument, JsonOption, federation_of, job_of, output, repository
from cloister.cli.policy_names import policy_of
from cloister.documents import Document
from cloister.errors import DeniedError, UsageError
from cloister.files import write_atomically
from cloister.governance.code_approval import CodeApproved, with_approval
from cloister.jobs import Code, Job, code_of
from cloister.policies import BASELINE, Policy
from cloister.policies.cases import CASES
from cloister.repository import Repository

_CASES_FILE = f"{CASES}/code.yaml"


def approve_code(
    job: JobArgument,
    *,
    site: Annotated[str, typer.Option("--site", metavar="SITE", help="Whose policy; or `baseline`.")],
    until: Annotated[str, typer.Option("--until", metavar="DATE", help="Last day, such as 2027-01-31.")],
    person: Annotated[
        str, typer.Option("--as", metavar="OFFICER", help="Who you are; the officer of SITE if only one is.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")] = False,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Approve the training code of a job.

    Shows every file of it, and approves exactly that code in a site's policy.
    The code is known by its digest: a change of one character is other code. Nothing of it is run.
    """
    del as_json
    repo = repository(folder)
    document, policy = job_of(repo, job), policy_of(repo, site)
    site = policy.value.policy
    code = code_of(repo.root, document.value)
    if code is None:
        hint = "only a job with `code` needs its code approved"
        raise UsageError(f"job `{document.value.job}` brings no training code", hint=hint)
    officer = officer_of(repo.federation.value, site, person)
    check_is_theirs(federation_of(repo), officer)
    approval = CodeApproved(code.digest, officer, _last_day(until))
    _check_open(policy, approval)
    text = with_approval(policy, approval)
    _show(code, f"{document.value.job} ({document.value.code})")
    out = output()
    question = f"Approve this code at {site} until {approval.until}, as {approval.by}?"
    if not yes and not _agreed(question):
        raise DeniedError("the code was not approved")
    # Whoever reads takes their time, and somebody else may have edited the policy meanwhile.
    path = repo.root / policy.source.file
    if path.read_bytes() != policy.text:
        raise UsageError(f"`{policy.source.file}` was changed while you read", hint="run the command again")
    write_atomically(path, text, mode=path.stat().st_mode & 0o777)
    version = policy.value.version + 1
    out.say(f"{policy.source.file} approves {code.digest} until {approval.until}; it is version {version} now")
    if site != BASELINE and repo.policies[BASELINE].value.code is not None:
        out.say(f"{repo.policies[BASELINE].source.at('code')} has a say as well: both must approve it")
    out.say(f"try it with this case in {_CASES_FILE}:\n")
    out.say(_case(repo, document.value, site, approval))
    out.say(f"then:\n  cloister policy check {site}\n  cloister policy sign {site}")
    out.result(
        {
            "policy": policy.source.file,
            "site": site,
            "version": version,
            "job": document.value.job,
            "sha256": approval.sha256,
            "by": approval.by,
            "until": approval.until.isoformat(),
            "files": sorted(code.files),
        }
    )


def _case(repo: Repository, job: Job, site: str, approval: CodeApproved) -> str:
    """The case that shows the approval, as it stands in its file; with the file's beginning where there is no file."""
    said = [
        f"  - case: the code {approval.sha256[:12]} of {job.job}",
        f"    sites: [{', '.join(repo.sites_of(job) if site == BASELINE else [site])}]",
        f"    job: {job.job}",
        f'    code: "{approval.sha256}"',  # some digests are numbers to YAML
        "    expect: allow",
    ]
    if "code" not in repo.cases:
        said[:0] = [f"now: {datetime.now(UTC):%Y-%m-%d}T12:00:00Z", "", "cases:"]
    return "\n".join((*said, ""))


def _agreed(question: str) -> bool:
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:  # nobody is there to answer, or they stopped the command
        return False


def _last_day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"`{text[:40]}` is no date", hint="write it as 2027-01-31") from error
    if day < datetime.now(UTC).date():
        raise UsageError(f"`{day}` is past", hint="name the last day on which the code may run")
    return day


def _check_open(policy: Document[Policy], approval: CodeApproved) -> None:
    """See that the approval would change something, and that the code could run then.

    Raises:
        UsageError: where the policy approves the same code for as long already.
        DeniedError: where the site runs training code without a sandbox.
    """
    if policy.value.sandbox == "unsafe-none":
        at = policy.source.at("sandbox")
        raise DeniedError(f"{at} runs training code with no sandbox, where no job's own code may run, approved or not")
    granted = policy.value.code
    for index, entry in enumerate(() if granted is None or granted == "forbidden" else granted.approved):
        if entry.sha256 == approval.sha256 and entry.until >= approval.until:
            at = policy.source.at("code", "approved", index)
            hint = "to shorten an approval, edit the policy"
            raise UsageError(f"the code is approved already, until {entry.until} ({at})", hint=hint)


def _show(code: Code, name: str) -> None:
    out = output()
    out.say(f"training code of {name}: {_counted(len(code.files), 'file')}, sha256 {code.digest}")
    for path, text in code.files.items():
        *lines, rest = text.split("\n")
        if rest:
            lines.append(rest)
        ending = ", the last without an end of line" if rest else ""
        out.say(f"\n--- {path}, {_counted(len(lines), 'line')}{ending}")
        for number, line in enumerate(lines, start=1):
            out.say(f"{number:5d}  {line}")
    out.say()


def _counted(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"
