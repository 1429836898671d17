# SPDX-License-Identifier: Apache-2.0
"""FHIR R4: exports of resources, read into rows by paths that the silo document chooses."""
