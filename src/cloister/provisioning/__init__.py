# SPDX-License-Identifier: Apache-2.0
"""How everybody in the roster gets a certificate: the authority that signs, requests, kits, and all of it at once."""

from cloister.provisioning.authority import Authority
from cloister.provisioning.enrolment import request_certificate
from cloister.provisioning.inspection import Standing, inspect
from cloister.provisioning.kit import Fault, Finding, KitPaths, check_kit
from cloister.provisioning.rollout import Issued, hand_out, provision, retired

__all__ = [
    "Authority",
    "Fault",
    "Finding",
    "Issued",
    "KitPaths",
    "Standing",
    "check_kit",
    "hand_out",
    "inspect",
    "provision",
    "request_certificate",
    "retired",
]
