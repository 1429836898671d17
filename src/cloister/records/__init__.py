# SPDX-License-Identifier: Apache-2.0
"""Connectors to a site's records, and the governed view that one job's trainer may see of them."""

from cloister.records.interface import Store
from cloister.records.split import split_key
from cloister.records.stores import open_store
from cloister.records.view import ViewRequest, check_request, write_view
from cloister.records.view_manifest import TRAINING, VALIDATION, ViewManifest

__all__ = [
    "TRAINING",
    "VALIDATION",
    "Store",
    "ViewManifest",
    "ViewRequest",
    "check_request",
    "open_store",
    "split_key",
    "write_view",
]
