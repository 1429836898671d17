# SPDX-License-Identifier: Apache-2.0
"""The OMOP common data model 5.4: a cohort with its features and outcome, from a database or an export."""
