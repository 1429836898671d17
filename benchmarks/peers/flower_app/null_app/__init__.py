# SPDX-License-Identifier: Apache-2.0
"""An app of Flower's that trains nothing: every site adds one to ten numbers."""
