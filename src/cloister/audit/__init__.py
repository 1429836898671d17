# SPDX-License-Identifier: Apache-2.0
"""The audit log: what was decided, released and changed, in a chain that cannot be edited unseen."""
