# SPDX-License-Identifier: Apache-2.0
"""Plain NVFlare projects: read strictly, and turned into our documents with a word about every line."""

from cloister.nvflare_project.changes import Change, Outcome
from cloister.nvflare_project.choices import Choices
from cloister.nvflare_project.convert import Imported, convert
from cloister.nvflare_project.participants import Kept
from cloister.nvflare_project.read import parse_project, read_project
from cloister.nvflare_project.report import REPORT, report, to_do

__all__ = [
    "REPORT",
    "Change",
    "Choices",
    "Imported",
    "Kept",
    "Outcome",
    "convert",
    "parse_project",
    "read_project",
    "report",
    "to_do",
]
