# SPDX-License-Identifier: Apache-2.0
"""`cloister policy test`: do the policies answer each case as it expects?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.table import Table

from cloister.cli.options import FolderOption, JsonOption, output, repository
from cloister.cli.policy_names import NamesArgument, policy_names
from cloister.errors import CloisterError
from cloister.policies import BASELINE
from cloister.policies.trial import Result
from cloister.repository import case_results


def test(names: NamesArgument = None, folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Run the cases in policies/cases/.

    Compares each answer with the expected one; ends with status 1 where one differs.
    """
    del as_json
    repo = repository(folder)
    wanted = policy_names(repo, names)
    out = output()
    with out.busy("deciding"):
        results = [each for each in case_results(repo) if BASELINE in wanted or each.trial.site in wanted]
    if not results:
        raise CloisterError("there is no case to run", hint="write one in `policies/cases/`, see docs/policies.md")
    failed = [result for result in results if not result.passed]
    out.say(_table(results))
    for result in failed:
        out.say(f"{result.trial.place}: {result.trial.site}: {result.decision.sentence()}")
    out.say(f"{len(results) - len(failed)} of {len(results)} answers are as expected")
    out.result({"passed": not failed, "results": [result.to_json() for result in results]})
    if failed:
        count = "1 answer is" if len(failed) == 1 else f"{len(failed)} answers are"
        raise CloisterError(f"{count} not as expected", hint="mend the policy, or the case")


def _table(results: Sequence[Result]) -> Table:
    """One line for each case, or several where it failed: what came, and at which sites."""
    table = Table("rule", "case", "result", "expected", "came", "sites", box=None, pad_edge=False)
    for _, of_case in groupby(results, key=lambda result: result.trial.place):
        by_answer: dict[tuple[bool, str], list[str]] = {}
        for result in of_case:
            by_answer.setdefault((result.passed, result.came), []).append(result.trial.site)
            trial = result.trial
        for (passed, came), sites in by_answer.items():
            row = (trial.rule, trial.case.case, "pass" if passed else "FAIL", trial.expected, "" if passed else came)
            table.add_row(*row, ", ".join(sites))
    return table
