# SPDX-License-Identifier: Apache-2.0
"""Which rows of a dataset a policy lets through: a small language of conditions, with no way to call anything."""

from cloister.row_filter.check import mistakes
from cloister.row_filter.model import (
    All,
    AnyOf,
    Comparison,
    Missing,
    Not,
    OneOf,
    Operator,
    RowFilter,
    Scalar,
    all_of,
    columns_of,
)
from cloister.row_filter.parse import MAXIMUM_CHARACTERS, parse
from cloister.row_filter.text import in_words, spelled

__all__ = [
    "MAXIMUM_CHARACTERS",
    "All",
    "AnyOf",
    "Comparison",
    "Missing",
    "Not",
    "OneOf",
    "Operator",
    "RowFilter",
    "Scalar",
    "all_of",
    "columns_of",
    "in_words",
    "mistakes",
    "parse",
    "spelled",
]
