# SPDX-License-Identifier: Apache-2.0
"""Keys, certificates and what they must say: whom the roster names, and what its authority's signature vouches for."""

from cloister.certificates.anchors import Anchors
from cloister.certificates.identity import Identity, Kind, identities, lifetime, startup_folder
from cloister.certificates.keys import PrivateKey
from cloister.certificates.pem import read_certificate
from cloister.certificates.signer import signer_of

__all__ = [
    "Anchors",
    "Identity",
    "Kind",
    "PrivateKey",
    "identities",
    "lifetime",
    "read_certificate",
    "signer_of",
    "startup_folder",
]
