# SPDX-License-Identifier: Apache-2.0
"""A statement, such as a policy's signature, counts for nothing where it was signed with a bad certificate."""

from __future__ import annotations

import pytest
from cryptography import x509

from cloister.certificates import PrivateKey, signer_of
from cloister.envelope import seal, unseal
from cloister.errors import CloisterError
from tests.trust.chains import TABLE, Bad
from tests.trust.chains.cases import make
from tests.trust.chains.world import World

pytestmark = pytest.mark.filterwarnings("ignore")

KIND = "application/vnd.cloister.test+json"


@pytest.mark.parametrize("bad", [bad for bad in TABLE if "person" in bad.kinds], ids=lambda bad: bad.name)
def test_nobody_signs_with_it(worlds: dict[str, World], bad: Bad) -> None:
    shown, world = make(bad, worlds["person"])
    if shown.key is not world.leaf_key or b"BEGIN CERTIFICATE" not in shown.content:
        return
    try:
        certificate = x509.load_pem_x509_certificates(shown.content)[0]
    except (ValueError, x509.InvalidVersion):
        return

    def sign() -> object:
        sealed = seal(KIND, b"{}", PrivateKey(world.leaf_key), certificate)
        return signer_of(unseal(KIND, sealed), world.trust.federation, world.trust.anchors, world.now)

    if (certificate == world.good and shown.world is None) or bad.at_kit is None:  # what was wrong was the file
        assert sign() == world.who
    else:
        with pytest.raises(CloisterError) as caught:
            sign()
        assert caught.value.message.isprintable()
