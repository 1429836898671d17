# SPDX-License-Identifier: Apache-2.0
"""The federation's trust: keys, certificates and the authority that signs from the roster alone."""

from cloister.provisioning.authority import Authority
from cloister.provisioning.enrolment import accept_certificate, grant_certificate, request_certificate
from cloister.provisioning.identity import Identity, Kind, identities, lifetime, startup_folder
from cloister.provisioning.inspection import Standing, inspect
from cloister.provisioning.keys import PrivateKey
from cloister.provisioning.kit import Fault, Finding, KitPaths, check_kit
from cloister.provisioning.pem import read_certificate
from cloister.provisioning.rollout import Issued, provision, retired
from cloister.provisioning.signer import signer_of

__all__ = [
    "Authority",
    "Fault",
    "Finding",
    "Identity",
    "Issued",
    "Kind",
    "KitPaths",
    "PrivateKey",
    "Standing",
    "accept_certificate",
    "check_kit",
    "grant_certificate",
    "identities",
    "inspect",
    "lifetime",
    "provision",
    "read_certificate",
    "request_certificate",
    "retired",
    "signer_of",
    "startup_folder",
]
