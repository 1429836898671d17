# SPDX-License-Identifier: Apache-2.0
"""What names a person in free text: found by patterns, and masked or counted."""
