# SPDX-License-Identifier: Apache-2.0
"""What was measured, as a file that runs add to, as tables of docs/benchmarks.md, and as one page of plots."""
