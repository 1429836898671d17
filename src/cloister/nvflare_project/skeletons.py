# SPDX-License-Identifier: Apache-2.0
"""The documents that an import writes, as text with the remarks that people need in order to go on.

A project file says who takes part, and nothing of records or of what is allowed. So silos and policies are skeletons:
they pass `cloister check`, and grant nothing to anybody until somebody writes and signs more.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from cloister.documents.source import printable
from cloister.policies import BASELINE
from cloister.policies.cases import CASES
from cloister.roster import ROSTER, Role

FIRST_JOB = "first-look"
DATASET = "records"
# What a policy that grants nothing says no to, when it is asked for statistics of one column.
_REFUSING = "submitter, purpose, dataset, approval, columns, rows, free-text, sites, statistics"
_VALID = timedelta(days=365)


@dataclass(frozen=True)
class NamedSite:
    """A site as it is called here.

    Attributes:
        name: here.
        was: in the project file.
        organisation: here.
        studies: for each study that names it, what to remark.
    """

    name: str
    was: str
    organisation: str
    studies: tuple[str, ...] = ()


@dataclass(frozen=True)
class NamedPerson:
    """A person as they are called here; ``was`` and ``had`` are name and role in the project file."""

    name: str
    was: str
    organisation: str
    role: Role
    had: str


@dataclass(frozen=True)
class NamedServer:
    """The server as it is called here.

    Attributes:
        name: here.
        was: in the project file.
        organisation: here.
        host: what sites dial.
        other_hosts: further names in its certificate.
        port: where it listens.
    """

    name: str
    was: str
    organisation: str
    host: str
    other_hosts: tuple[str, ...]
    port: int


@dataclass(frozen=True)
class Named:
    """Everybody, and what the roster says beside.

    Attributes:
        federation: its name here.
        project: its name in the project file.
        description: there; empty where there is none.
        file: the project file, as people know it.
        server: the one server.
        authority_days: how long the authority's certificate lasts.
        sites: in the order of the file.
        people: in the order of the file.
    """

    federation: str
    project: str
    description: str
    file: str
    server: NamedServer
    authority_days: int
    sites: tuple[NamedSite, ...]
    people: tuple[NamedPerson, ...]


def documents(named: Named, today: date) -> Mapping[str, str]:
    """Every document, by its path in the federation's folder."""
    files = {ROSTER: _roster(named, today), f"policies/{BASELINE}.yaml": _baseline(today)}
    for site in named.sites:
        files[f"silos/{site.name}.yaml"] = _silo(site)
        files[f"policies/{site.name}.yaml"] = _policy(site, named, today)
    files[f"jobs/{FIRST_JOB}.yaml"] = _job([site.name for site in named.sites])
    files[f"{CASES}/validity.yaml"] = _cases([site.name for site in named.sites], today)
    return files


def _roster(named: Named, today: date) -> str:
    server = named.server
    description = "".join(f"#   {line}\n" for line in _lines(named.description))
    return (
        f"# Who takes part, as `cloister import` read it in {printable(named.file)} on {today}.\n"
        "#\n"
        "# What became of each line there:   IMPORTED.md\n"
        "# Check this file:                  cloister check\n"
        "# Make authority, keys and kits:    cloister provision\n"
        + (f"#\n# The project's description there:\n{description}" if description else "")
        + f"\nfederation: {named.federation}{_was(named.project, named.federation)}\n"
        "\nserver:\n"
        f"  name: {server.name}{_was(server.was, server.name)}\n"
        f"  organisation: {server.organisation}\n"
        f"  host: {server.host}    # what sites dial\n"
        + (f"  other_hosts: [{', '.join(server.other_hosts)}]\n" if server.other_hosts else "")
        + f"  port: {server.port}\n"
        "\nauthority:\n"
        f"  valid_days: {named.authority_days}\n"
        "\nsites:\n"
        + "".join(map(_site_entry, named.sites))
        + "\npeople:\n"
        + "".join(map(_person_entry, named.people))
        + "\nbaseline_officers: []    # who may sign policies/baseline.yaml; nobody yet, so no site takes jobs\n"
    )


def _site_entry(site: NamedSite) -> str:
    return (
        f"  - name: {site.name}{_was(site.was, site.name)}\n"
        f"    organisation: {site.organisation}\n"
        f"    officers: []    # who may sign policies/{site.name}.yaml; nobody yet, so it takes no jobs\n"
    )


def _person_entry(person: NamedPerson) -> str:
    return (
        f"  - name: {person.name}{_was(person.was, person.name)}\n"
        f"    organisation: {person.organisation}\n"
        f"    role: {person.role}    # was `{printable(person.had)}`\n"
    )


def _silo(site: NamedSite) -> str:
    return f"""\
# What {site.name} brings: a skeleton for its IT admin to fill in. Every key: docs/documents.md
#
# Check this file:                       cloister check
# Compare it with the records:           cloister data check {site.name}

site: {site.name}
organisation: {site.organisation}

datasets:
  {DATASET}:    # an example: name it, say where it lies, declare its columns
    connector:
      kind: csv
      path: records/{site.name}.csv
    columns:
      record_id: {{ kind: identifier }}    # of kind identifier: no job can ask for it
      value: {{ kind: number }}
"""


def _policy(site: NamedSite, named: Named, today: date) -> str:
    studies = "".join(f"# {printable(remark)}\n" for remark in site.studies)
    return f"""\
# What {site.name} allows: nothing yet, because a section that is left out denies. Every key and rule: docs/policies.md
#
# Check this file:                       cloister check
# Say it in plain English:               cloister policy explain {site.name}
# Once it says what is meant, sign it:   cloister policy sign {site.name}
{"#" + chr(10) + studies if studies else ""}
policy: {site.name}
version: 1
extends: {BASELINE}
owner: to be named, of {named.federation}    # name and role of whoever answers for this policy
valid_from: {today}
valid_until: {today + _VALID}
"""


def _baseline(today: date) -> str:
    return f"""\
# The floor under every site's policy, for all sites to agree on. A job runs where site and baseline both allow it.
#
# Check this file:               cloister check
# What every key and rule means: docs/policies.md

policy: {BASELINE}
version: 1
owner: to be named    # name and role of whoever answers for this policy
valid_from: {today}
valid_until: {today + _VALID}

sandbox: required
"""


def _job(sites: Sequence[str]) -> str:
    return f"""\
# Counts and means of one column, over all sites: a first job to fill in. Every key: docs/documents.md
#
# Ask every site's policy first:   cloister job explain jobs/{FIRST_JOB}.yaml

job: {FIRST_JOB}
purpose: to-be-agreed
task: statistics

dataset:
  name: {DATASET}
  features: [value]

federation:
  sites: [{", ".join(sites)}]
  minimum_sites: {min(2, len(sites))}
"""


def _cases(sites: Sequence[str], today: date) -> str:
    listed = ", ".join(sites)
    nobody = "{ name: somebody@research.example, organisation: research, role: data-scientist }"
    return f"""\
# Nothing is allowed as long as nothing is granted, and nothing is before a policy counts.
#
# Run the cases: cloister policy test

now: {today}T12:00:00Z

cases:
  - case: a job where nothing is granted yet
    sites: [{listed}]
    job: {FIRST_JOB}
    submitter: {nobody}
    expect: deny
    rules: [{_REFUSING}]

  - case: the same before any policy counted
    sites: [{listed}]
    job: {FIRST_JOB}
    submitter: {nobody}
    now: 1999-12-31T12:00:00Z
    expect: deny
    rules: [validity, {_REFUSING}]
"""


def _was(before: str, now: str) -> str:
    return "" if before == now else f"    # was `{printable(before)}`"


def _lines(text: str) -> list[str]:
    return [printable(part) for line in text.strip().splitlines() for part in textwrap.wrap(line, 110)]
