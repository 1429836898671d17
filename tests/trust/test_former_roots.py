# SPDX-License-Identifier: Apache-2.0
"""What a participant remembers of authorities that it trusts no more, and that they open nothing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from cloister.certificates import identities, startup_folder
from cloister.certificates.anchors import read_roots
from cloister.errors import ProvisioningError
from cloister.provisioning import Authority, hand_out, provision
from cloister.provisioning.rotation import announce, finish, switch
from cloister.roster import Federation
from cloister.trust import roots_of_the_past, trust_in_force
from cloister.trust.former_roots import keep_former_roots

pytestmark = pytest.mark.usefixtures("pooled_keys")


def test_an_authority_that_has_handed_over_is_remembered_and_trusted_no_more(
    authority: Authority, roster: Federation, now: datetime
) -> None:
    state, old = authority.folder.parent, authority.certificate
    workspaces = [startup_folder(state, each).parent for each in identities(roster)]
    both = announce(authority, roster, now)
    hand_out(both, roster, state, now)
    assert all(set(roots_of_the_past(each)) == set(both.roots) for each in workspaces)
    switched = switch(both, roster, now)
    hand_out(switched, roster, state, now)
    for each in workspaces:
        for certificate in (each / "startup").glob("*.crt"):
            certificate.unlink()
    provision(roster, state, now)
    done = finish(Authority.open(authority.folder), roster, now)
    hand_out(done, roster, state, now)
    for each in workspaces:
        assert old not in read_roots(each / "startup" / "rootCA.pem")
        assert old not in trust_in_force(each).anchors.roots
        assert roots_of_the_past(each) == (*done.roots, old)


def test_one_is_remembered_once(authority: Authority, state: Path) -> None:
    workspace, root = state / "server", authority.certificate
    for _ in range(3):
        keep_former_roots(workspace, (root,))
    assert roots_of_the_past(workspace) == (root, root)
    assert (workspace / "trust" / "former-roots.pem").stat().st_mode & 0o077 == 0


def test_a_memory_that_is_damaged_is_told_and_not_taken_for_none(state: Path) -> None:
    (state / "server" / "trust" / "former-roots.pem").write_text("nothing")
    with pytest.raises(ProvisioningError, match=r"former-roots\.pem"):
        roots_of_the_past(state / "server")
