# SPDX-License-Identifier: Apache-2.0
"""NVFlare's own checks, with two authorities and with the roster's word."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from nvflare.lighter import utils as lighter
from nvflare.private.fed.utils import app_deployer
from nvflare.private.fed.utils.identity_utils import (
    CNMismatch,
    IdentityAsserter,
    IdentityVerifier,
    InvalidAsserterCert,
    InvalidCNSignature,
)

from cloister.certificates.anchors import roots_pem
from cloister.flare import trusted_roots
from cloister.flare.state import State
from cloister.flare.trusted_roots import trust_every_root, verify_folder
from cloister.provisioning import Authority
from cloister.provisioning.revoking import revoke
from cloister.provisioning.rotation import announce, switch
from cloister.repository import load_repository
from cloister.trust import take_up
from tests.federation_folder import PERSON
from tests.flare.renewed import new_roster, renewed
from tests.flare.signed_jobs import authority_file, job_of, provisioned, sign, site_app
from tests.flare.wire import undone_after


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    undone_after(monkeypatch)
    trust_every_root()
    return provisioned(tmp_path)


def handing_over(root: Path) -> Authority:
    """The federation's authority, beside which the next one is trusted and signs; the server knows."""
    authority, federation = Authority.open(State(root).folder / "authority"), load_repository(root).federation.value
    now = datetime.now(UTC)
    after = switch(announce(authority, federation, now), federation, now)
    for version in (2, 3):
        take_up(State(root).server, (State(root).folder / "authority" / "rosters" / f"{version:08d}.json").read_bytes())
    return after


def test_a_job_is_accounted_for_by_whichever_root_fits(root: Path, tmp_path: Path) -> None:
    app = sign(site_app(root, job_of(root)), root)
    both = handing_over(root).roots
    (theirs,) = x509.load_pem_x509_certificates(authority_file("theirs").read_bytes())
    signed = [(PERSON, "institute", "data-scientist")]
    for name, roots, expected in (
        ("both", both, signed),
        ("turned", both[::-1], signed),
        ("first", both[1:], signed),
        ("next", both[:1], []),
        ("theirs", (theirs,), []),
    ):
        path = tmp_path / f"{name}.pem"
        path.write_bytes(roots_pem(roots))
        assert verify_folder(str(app), str(path)) == (bool(expected), expected), name
        assert lighter.verify_folder_signature(str(app), str(path)) is bool(expected)
        assert app_deployer.verify_folder_signature_and_get_signers(str(app), str(path))[0] is bool(expected)


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_nothing_is_accounted_for_without_roots(root: Path, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "roots.pem"
    if content is not None:
        path.write_bytes(content)
    assert verify_folder(str(sign(site_app(root, job_of(root)), root)), str(path)) == (False, [])


def test_a_verification_that_fails_inside_is_a_refusal(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_about: object) -> None:
        raise RuntimeError("the gate's own code throws")

    monkeypatch.setattr(trusted_roots, "_verify_folder", stumble)
    roots = State(root).server / "startup" / "rootCA.pem"
    assert verify_folder(str(root), str(roots)) == (False, [])


def asserted(root: Path, workspace: Path, stem: str, name: str, **changes: Any) -> bool:
    """Have the server verify who somebody says that they are, as NVFlare does."""
    startup = workspace / "startup"
    asserter = IdentityAsserter(str(startup / f"{stem}.key"), str(startup / f"{stem}.crt"))
    nonce = str(uuid.uuid4())
    verifier = IdentityVerifier(root_cert_file=str(State(root).server / "startup" / "rootCA.pem"))
    given = {
        "asserted_cn": name,
        "nonce": nonce,
        "asserter_cert": asserter.cert,
        "signature": asserter.sign_common_name(nonce),
        "intermediate_certs": [],
        "expected_eku": ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    return bool(verifier.verify_common_name(**{**given, **changes}))


def test_who_somebody_says_that_they_are_is_held_against_the_roster(root: Path) -> None:
    state = State(root)
    assert asserted(root, state.site("alpha"), "client", "alpha")
    assert asserted(root, state.person(PERSON), "client", PERSON, expected_eku=None)
    assert asserted(root, state.server, "server", "coordinator", expected_eku=ExtendedKeyUsageOID.SERVER_AUTH)
    with pytest.raises(CNMismatch):
        asserted(root, state.site("alpha"), "client", "beta")
    with pytest.raises(InvalidCNSignature):
        asserted(root, state.site("alpha"), "client", "alpha", signature=b"x")
    with pytest.raises(InvalidAsserterCert, match="that of a server"):
        asserted(root, state.server, "server", "coordinator")
    revoke(Authority.open(state.folder / "authority"), "alpha", "stolen", datetime.now(UTC))
    take_up(state.server, new_roster(root))
    with pytest.raises(InvalidAsserterCert, match="stolen"):
        asserted(root, state.site("alpha"), "client", "alpha")


def test_a_certificate_that_was_not_issued_is_nobodys(root: Path) -> None:
    workspace = State(root).site("alpha")
    (workspace / "startup" / "client.crt").write_bytes(renewed(root, "alpha"))
    with pytest.raises(InvalidAsserterCert, match="not issued"):
        asserted(root, workspace, "client", "alpha")
    take_up(State(root).server, new_roster(root))
    assert asserted(root, workspace, "client", "alpha")


def test_both_authorities_count_while_one_hands_over(root: Path) -> None:
    workspace = State(root).site("alpha")
    handing_over(root)
    assert asserted(root, workspace, "client", "alpha")
    (workspace / "startup" / "client.crt").write_bytes(renewed(root, "alpha"))
    take_up(State(root).server, new_roster(root))
    assert asserted(root, workspace, "client", "alpha")


def test_nobody_is_who_they_say_without_a_roster(root: Path) -> None:
    (State(root).server / "trust" / "roster.json").unlink()
    with pytest.raises(InvalidAsserterCert):
        asserted(root, State(root).site("alpha"), "client", "alpha")
