# SPDX-License-Identifier: Apache-2.0
"""Tables that lie in files: CSV, Parquet, Arrow and JSON lines."""
