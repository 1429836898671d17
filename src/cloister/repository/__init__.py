# SPDX-License-Identifier: Apache-2.0
"""The four folders of documents as one frozen value, and the part of them that one site reads."""

from cloister.repository.case_results import case_results, coverage_problems, failed_cases
from cloister.repository.job_code import code_digest
from cloister.repository.load import find_root, load_repository, load_site
from cloister.repository.model import Repository, SiteDocuments

__all__ = [
    "Repository",
    "SiteDocuments",
    "case_results",
    "code_digest",
    "coverage_problems",
    "failed_cases",
    "find_root",
    "load_repository",
    "load_site",
]
