# SPDX-License-Identifier: Apache-2.0
"""Connectors to a site's records, and the governed view that one job's trainer may see of them."""

from cloister.records.interface import Store
from cloister.records.stores import open_store
from cloister.records.view.manifest import TRAINING, VALIDATION, ViewManifest
from cloister.records.view.request import FreeText, ViewRequest, check_request
from cloister.records.view.split import split_key
from cloister.records.view.statistics import describe_view
from cloister.records.view.write import write_view

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
