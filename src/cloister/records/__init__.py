# SPDX-License-Identifier: Apache-2.0
"""Connectors to a site's records, and the governed view that one job's trainer may see of them."""

from cloister.records.interface import Store
from cloister.records.split import split_key
from cloister.records.stores import open_store
from cloister.records.view import write_view
from cloister.records.view_manifest import TRAINING, VALIDATION, ViewManifest
from cloister.records.view_request import FreeText, ViewRequest, check_request
from cloister.records.view_statistics import describe_view

__all__ = [
    "TRAINING",
    "VALIDATION",
    "FreeText",
    "Store",
    "ViewManifest",
    "ViewRequest",
    "check_request",
    "describe_view",
    "open_store",
    "split_key",
    "write_view",
]
