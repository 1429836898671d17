# SPDX-License-Identifier: Apache-2.0
"""Tokens that the server signed, before and after its key was renewed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.apis.fl_constant import FLContextKey, SecureTrainConst
from nvflare.apis.fl_context import FLContext
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.fuel.f3.message import Message
from nvflare.private.defs import CellMessageHeaderKeys
from nvflare.private.fed.server.cred_keeper import CredKeeper
from nvflare.private.fed.server.fed_server import FederatedServer
from nvflare.private.fed.utils.identity_utils import TokenVerifier

from cloister.certificates import PrivateKey
from cloister.errors import CertificateError
from cloister.flare.server_identity import ServerIdentity, sign_with_renewed_key
from cloister.flare.state import State
from cloister.provisioning import Authority
from cloister.provisioning.revoking import revoke
from cloister.trust import take_up
from tests.flare.renewed import new_roster, renewed
from tests.flare.signed_jobs import provisioned
from tests.flare.wire import undone_after


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return provisioned(tmp_path)


def paths(root: Path) -> tuple[Path, Path]:
    startup = State(root).server / "startup"
    return startup / "server.key", startup / "server.crt"


@pytest.fixture
def identity(root: Path) -> ServerIdentity:
    return ServerIdentity(*paths(root), State(root).server / "own")


def renew_key(root: Path) -> None:
    """Give the server another key and a certificate of it that the roster lists."""
    key, certificate = paths(root)
    key.unlink()
    PrivateKey.generate().write(key)
    certificate.write_bytes(renewed(root, "coordinator"))
    take_up(State(root).server, new_roster(root))


def signed_earlier(identity: ServerIdentity, asserter: Any) -> bool:
    return identity.signed_earlier("alphatoken", asserter.sign("alphatoken", return_str=True))


def test_the_key_on_disk_signs_and_the_earlier_ones_are_known(root: Path, identity: ServerIdentity) -> None:
    first = identity.asserter()
    assert identity.asserter() is first
    assert not signed_earlier(identity, first)  # it is the latest
    renew_key(root)
    latest = identity.asserter()
    assert latest.cert != first.cert
    assert signed_earlier(identity, first)
    assert not identity.signed_earlier("betatoken", first.sign("alphatoken", return_str=True))
    assert not identity.signed_earlier("alphatoken", "nonsense")
    assert not identity.signed_earlier("alphatoken", None)


def test_after_a_restart_and_under_another_authority_they_are_known_as_well(root: Path) -> None:
    first = ServerIdentity(*paths(root), State(root).server / "own").asserter()
    renew_key(root)
    revoke(Authority.open(State(root).folder / "authority"), "coordinator", "stolen", datetime.now(UTC))
    take_up(State(root).server, new_roster(root))
    restarted = ServerIdentity(*paths(root), State(root).server / "own")
    restarted.asserter()
    assert signed_earlier(restarted, first)


def test_a_certificate_that_is_renewed_for_the_same_key_changes_nothing(root: Path, identity: ServerIdentity) -> None:
    first = identity.asserter()
    paths(root)[1].write_bytes(renewed(root, "coordinator"))
    assert identity.asserter().verify_signature("x", first.sign("x", return_str=True))
    assert not signed_earlier(identity, first)


def test_not_every_certificate_that_there_ever_was_is_kept(root: Path, identity: ServerIdentity) -> None:
    for _ in range(25):
        paths(root)[1].write_bytes(renewed(root, "coordinator"))
        identity.asserter()
    assert len(list((State(root).server / "own").glob("*.pem"))) == 20


def test_while_key_and_certificate_do_not_fit_the_earlier_pair_signs(root: Path, identity: ServerIdentity) -> None:
    first = identity.asserter()
    key, _ = paths(root)
    key.unlink()
    PrivateKey.generate().write(key)
    assert identity.asserter() is first
    with pytest.raises(CertificateError):
        ServerIdentity(*paths(root), State(root).server / "own").asserter()


def test_to_each_process_the_certificate_that_it_was_shown(root: Path, identity: ServerIdentity) -> None:
    identity.introduce("_admin_1")
    first = identity.asserter()
    renew_key(root)
    assert identity.known_to("_admin_1") is first
    assert identity.known_to("_admin_2") is identity.asserter()


def test_nvflares_server_signs_and_verifies_with_both(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undone_after(monkeypatch)
    monkeypatch.setattr(FederatedServer, "client_challenge", lambda _server, _request: "challenged")
    sign_with_renewed_key(State(root).server)
    keeper, fl_ctx = CredKeeper(), FLContext()
    key, certificate = paths(root)
    config = {SecureTrainConst.PRIVATE_KEY: str(key), SecureTrainConst.SSL_CERT: str(certificate)}
    fl_ctx.set_prop(FLContextKey.SERVER_CONFIG, [config], private=True, sticky=True)
    server = SimpleNamespace(
        my_own_auth_client_name="server",
        my_own_token="server",
        _get_id_asserter=lambda: keeper.get_id_asserter(fl_ctx),
    )
    first = keeper.get_id_asserter(fl_ctx)
    token = first.sign("alphatoken", return_str=True)
    request = Message(headers={MessageHeaderKey.ORIGIN: "_admin_1"})
    assert FederatedServer.client_challenge(server, request) == "challenged"
    renew_key(root)
    latest = keeper.get_id_asserter(fl_ctx)
    assert TokenVerifier(latest.cert).verify("alpha", "token", token)
    assert not TokenVerifier(latest.cert).verify("beta", "token", token)
    assert not TokenVerifier(latest.cert).verify("alpha", "token", "nonsense")
    assert TokenVerifier(latest.cert).verify("alpha", "token", latest.sign("alphatoken", return_str=True))
    for process, shown in (("_admin_1", first), ("_admin_2", latest)):
        message = Message(headers={MessageHeaderKey.DESTINATION: process})
        FederatedServer._add_auth_headers(server, message)
        signature = message.get_header(CellMessageHeaderKeys.TOKEN_SIGNATURE)
        assert shown.verify_signature("serverserver", signature)


def test_a_server_without_a_key_signs_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undone_after(monkeypatch)
    sign_with_renewed_key(State(root).server)
    assert CredKeeper().get_id_asserter(FLContext()) is None
    server = SimpleNamespace(_get_id_asserter=lambda: None)
    with pytest.raises(CertificateError):
        FederatedServer._add_auth_headers(server, Message(headers={}))
