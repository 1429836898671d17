# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from cloister.errors import InvalidDocumentsError
from cloister.repository import load_repository
from tests.federation_folder import JOB, change_document, make_federation


def problems(root: Path) -> list[str]:
    try:
        load_repository(root)
    except InvalidDocumentsError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_code_that_can_travel_is_no_problem(tmp_path: Path) -> None:
    root = make_federation(tmp_path, job={"code": "code/focal-loss"})
    (root / "code" / "focal-loss").mkdir(parents=True)
    (root / "code" / "focal-loss" / "trainer.py").write_text("class Trainer: ...\n")
    assert problems(root) == []


def test_missing_and_wrong_code_is_a_problem_with_its_line(tmp_path: Path) -> None:
    root = make_federation(tmp_path)
    path = change_document(root, f"jobs/{JOB}.yaml", {"code": "code/focal-loss"})
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if text.startswith("code:"))
    said = problems(root)
    assert said == [
        f"jobs/{JOB}.yaml:{line}: training code `code/focal-loss` is no folder (make it, with a `trainer.py` in it)"
    ]
    folder = root / "code" / "focal-loss"
    folder.mkdir(parents=True)
    assert "holds no `trainer.py`" in problems(root)[0]
    (folder / "trainer.py").write_bytes(b"\xff")
    assert problems(root)[0].startswith(f"jobs/{JOB}.yaml:{line}: training code `code/focal-loss` holds `trainer.py`")
