# SPDX-License-Identifier: Apache-2.0
"""A federation's folder in the making."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from cloister.errors import InvalidDocumentsError
from cloister.repository import load_repository
from tests.policies.world import Tree, World, text_of

ROSTER = "provisioning/federation.yaml"
NORTH, RIVER = "policies/hospital-north.yaml", "silos/hospital-river.yaml"
JOB = "jobs/triage-notes.yaml"
FEDERATION: Tree = {
    "federation": "reference",
    "server": {"name": "coordinator", "organisation": "research-institute"},
    "sites": [
        {"name": "hospital-north", "organisation": "northfield-hospital"},
        {"name": "hospital-river", "organisation": "riverside-clinics"},
    ],
    "people": [
        {"name": "ada@research.example", "organisation": "research-institute", "role": "data-scientist"},
        {"name": "alan@research.example", "organisation": "other-institute", "role": "it-admin"},
    ],
}


class Folder:
    """A federation's folder: documents as trees that a test changes before they are written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        world = World()
        world.site["datasets"].pop("letters")
        del world.job["code"]
        self.trees: dict[str, Tree] = {
            ROSTER: copy.deepcopy(FEDERATION),
            "policies/baseline.yaml": world.baseline,
            "jobs/triage-notes.yaml": world.job,
        }
        for site, organisation in (("hospital-north", "northfield-hospital"), ("hospital-river", "riverside-clinics")):
            self.trees[f"silos/{site}.yaml"] = {
                **copy.deepcopy(world.silo),
                "site": site,
                "organisation": organisation,
            }
            self.trees[f"policies/{site}.yaml"] = {**copy.deepcopy(world.site), "policy": site}
        self.texts: dict[str, str] = {}

    def write(self) -> Path:
        for name, tree in self.trees.items():
            self.texts.setdefault(name, text_of(tree).decode())
        for name, text in self.texts.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return self.root

    def problems(self) -> list[str]:
        """Every problem, with its line's text in the place of the number: `file: [text] message (hint)`."""
        root = self.write()
        with pytest.raises(InvalidDocumentsError) as caught:
            load_repository(root)
        return [self._shown(problem.file, problem.line, str(problem)) for problem in caught.value.problems]

    def _shown(self, file: str, line: int, sentence: str) -> str:
        if not line:
            return sentence
        lines = (self.root / file).read_text(encoding="utf-8").splitlines()
        text = lines[line - 1].strip() if line <= len(lines) else ""
        return sentence.replace(f"{file}:{line}:", f"{file}: [{text}]", 1)
