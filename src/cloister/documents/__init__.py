# SPDX-License-Identifier: Apache-2.0
"""Strict YAML: a document holds exactly what its model says, or every mistake in it is named with its line."""

from __future__ import annotations

from cloister.documents.document import MAXIMUM_BYTES, Document, Model, T, checked, load, parse
from cloister.documents.mistakes import NEWER_LANGUAGE
from cloister.documents.one_of import OneOf
from cloister.documents.several import refuse
from cloister.documents.source import KeyPath, Source
from cloister.documents.yaml_tree import MAXIMUM_DEPTH, MAXIMUM_PROBLEMS

__all__ = [
    "MAXIMUM_BYTES",
    "MAXIMUM_DEPTH",
    "MAXIMUM_PROBLEMS",
    "NEWER_LANGUAGE",
    "Document",
    "KeyPath",
    "Model",
    "OneOf",
    "Source",
    "T",
    "checked",
    "load",
    "parse",
    "refuse",
]
