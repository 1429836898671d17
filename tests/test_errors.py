# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cloister import errors
from cloister.errors import CloisterError, ExitStatus, InvalidDocumentsError, Problem


def _tree(root: type[CloisterError]) -> list[type[CloisterError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


def test_every_error_of_the_module_is_in_the_tree_and_drawn_in_its_docstring() -> None:
    named = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert set(named) == {kind for kind in _tree(CloisterError) if kind.__module__ == errors.__name__}
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in named)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("CloisterError", 1),
        ("UsageError", 2),
        ("DeniedError", 3),
        ("EgressError", 3),
        ("InvalidDocumentsError", 4),
        ("ProvisioningError", 1),
        ("RecordsError", 1),
        ("SandboxError", 1),
        ("TrainerError", 1),
        ("FederationError", 1),
        ("JobError", 1),
        ("ProblemsFoundError", 5),
    ],
)
def test_exit_statuses_have_their_meaning(name: str, status: int) -> None:
    kind = getattr(errors, name)
    assert kind.exit_status == ExitStatus(status)
    line = next(line for line in (errors.__doc__ or "").splitlines() if f"{name} " in line)
    assert f"exit {status}" in line or name == "EgressError"


def test_a_hint_stands_in_brackets_behind_the_message() -> None:
    assert str(CloisterError("port 8002 is taken", hint="set another")) == "port 8002 is taken (set another)"
    assert str(CloisterError("port 8002 is taken")) == "port 8002 is taken"


def test_invalid_documents_carry_every_problem_in_order() -> None:
    problems = [Problem("b.yaml", 2, "two"), Problem("a.yaml", 9, "nine", "mend it"), Problem("a.yaml", 0, "whole")]
    error = InvalidDocumentsError(problems)
    assert [problem.file for problem in error.problems] == ["a.yaml", "a.yaml", "b.yaml"]
    assert str(error).splitlines() == [
        "3 problems in the documents",
        "  a.yaml: whole",
        "  a.yaml:9: nine (mend it)",
        "  b.yaml:2: two",
    ]
    assert str(InvalidDocumentsError(problems[:1])).startswith("1 problem in the documents\n")
