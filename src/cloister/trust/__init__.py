# SPDX-License-Identifier: Apache-2.0
"""Whom this federation trusts now: the roster that its authority signed, and what a certificate is worth under it."""

from cloister.trust.former_roots import roots_of_the_past
from cloister.trust.in_force import roster_file, take_up, trust_in_force
from cloister.trust.judge import judge
from cloister.trust.signed_roster import Revocation, Trust, read_roster

__all__ = [
    "Revocation",
    "Trust",
    "judge",
    "read_roster",
    "roots_of_the_past",
    "roster_file",
    "take_up",
    "trust_in_force",
]
