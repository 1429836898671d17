# SPDX-License-Identifier: Apache-2.0
"""Signed policies, signed jobs and approved code: whose word counts at a site, and for how long."""
