# SPDX-License-Identifier: Apache-2.0
"""The governed view: what one job's trainer may see of a dataset, written to a folder of its own."""
