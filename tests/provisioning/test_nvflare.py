# SPDX-License-Identifier: Apache-2.0
"""NVFlare's own checks and transports on our certificates."""

from __future__ import annotations

import json
from concurrent import futures
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from cloister.certificates import pem, startup_folder
from cloister.provisioning import Authority, KitPaths
from cloister.roster import Federation
from tests.provisioning.world import PERSON, SERVER, SITE, identity

pytestmark = pytest.mark.flare
CLIENT, SERVING = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def paths(state: Path, roster: Federation, name: str) -> KitPaths:
    who = identity(roster, name)
    return KitPaths.of(startup_folder(state, who), who)


def leaf(state: Path, roster: Federation, name: str) -> x509.Certificate:
    return pem.read_certificate(paths(state, roster, name).certificate)


@pytest.mark.parametrize("name", [SERVER, SITE, PERSON])
def test_the_chain_is_valid(
    pristine: Path, roster: Federation, other_authority: Authority, now: datetime, name: str
) -> None:
    from nvflare.lighter.utils import load_crt, load_crt_chain, verify_cert_chain

    found = paths(pristine, roster, name)
    certificate, *rest = load_crt_chain(str(found.certificate))
    root = load_crt(str(found.root))
    verify_cert_chain(certificate, rest, root)
    with pytest.raises(x509.verification.VerificationError):
        verify_cert_chain(certificate, rest, other_authority.certificate)
    with pytest.raises(x509.verification.VerificationError):
        verify_cert_chain(certificate, rest, root, now=now + timedelta(days=400))


def test_names_organisations_and_roles_are_read_as_meant(pristine: Path, roster: Federation) -> None:
    from nvflare.fuel.hci.security import get_identity_info
    from nvflare.lighter.utils import cert_to_dict
    from nvflare.private.fed.utils.identity_utils import get_cn_from_cert, get_org_from_cert

    for name, organisation in ((SERVER, "institute"), (SITE, "northfield"), (PERSON, "institute")):
        certificate = leaf(pristine, roster, name)
        assert (get_cn_from_cert(certificate), get_org_from_cert(certificate)) == (name, organisation)
    found = get_identity_info(cert_to_dict(leaf(pristine, roster, PERSON)))
    assert list(found.values()) == [PERSON, "institute", "data-scientist"]


def test_a_person_may_be_an_admin_and_the_authority_may_not(pristine: Path, roster: Federation) -> None:
    from nvflare.fuel.sec.admin_cert import AdminCertValidationError, validate_admin_leaf_cert

    validate_admin_leaf_cert(leaf(pristine, roster, PERSON))
    with pytest.raises(AdminCertValidationError):
        validate_admin_leaf_cert(Authority.open(pristine / "authority").certificate)


@pytest.mark.parametrize(("name", "purpose"), [(SERVER, SERVING), (SERVER, CLIENT), (SITE, CLIENT), (PERSON, CLIENT)])
def test_the_identity_challenge_is_met(
    pristine: Path, roster: Federation, name: str, purpose: x509.ObjectIdentifier
) -> None:
    from nvflare.private.fed.utils.identity_utils import IdentityAsserter, IdentityVerifier

    found = paths(pristine, roster, name)
    asserter = IdentityAsserter(str(found.key), str(found.certificate))
    verifier = IdentityVerifier(str(found.root))
    signature = asserter.sign_common_name("nonce")
    assert verifier.verify_common_name(name, "nonce", asserter.cert, signature, [], purpose)


@pytest.mark.parametrize("name", [SITE, PERSON])
def test_nobody_but_the_server_meets_the_servers_challenge(pristine: Path, roster: Federation, name: str) -> None:
    from nvflare.private.fed.utils.identity_utils import IdentityAsserter, IdentityVerifier, InvalidAsserterCert

    found = paths(pristine, roster, name)
    asserter = IdentityAsserter(str(found.key), str(found.certificate))
    signature = asserter.sign_common_name("nonce")
    with pytest.raises(InvalidAsserterCert, match="extendedKeyUsage"):
        IdentityVerifier(str(found.root)).verify_common_name(name, "nonce", asserter.cert, signature, [], SERVING)


def test_a_job_that_a_person_signs_is_verified_as_theirs(pristine: Path, roster: Federation, tmp_path: Path) -> None:
    from nvflare.lighter.utils import load_private_key_file, sign_folders, verify_folder_signature_and_get_signers

    found = paths(pristine, roster, PERSON)
    job = tmp_path / "job"
    (job / "app" / "config").mkdir(parents=True)
    (job / "meta.json").write_text(json.dumps({"name": "trial"}))
    (job / "app" / "config" / "config_fed_client.json").write_text("{}")
    sign_folders(str(job), load_private_key_file(str(found.key)), str(found.certificate))
    root = str(found.root)
    assert verify_folder_signature_and_get_signers(str(job), root) == (
        True,
        [(PERSON, "institute", "data-scientist")],
    )
    (job / "meta.json").write_text(json.dumps({"name": "another"}))
    assert verify_folder_signature_and_get_signers(str(job), root) == (False, [])


def test_nvflares_message_encryption_has_no_room_for_our_keys_and_fails_closed(
    pristine: Path, roster: Federation
) -> None:
    """Its envelope has fixed fields of 256 bytes, so tasks marked `secure` need RSA-2048; TLS protects ours."""
    from nvflare.fuel.f3.cellnet.cell_cipher import SimpleCellCipher
    from nvflare.lighter.utils import load_private_key_file

    def cipher(name: str) -> SimpleCellCipher:
        root = Authority.open(pristine / "authority").certificate
        key = load_private_key_file(str(paths(pristine, roster, name).key))
        return SimpleCellCipher(root, key, leaf(pristine, roster, name))

    wrapped = cipher(SITE).encrypt(b"message", leaf(pristine, roster, SERVER))
    with pytest.raises(InvalidSignature):
        cipher(SERVER).decrypt(wrapped, leaf(pristine, roster, SITE))


def test_grpc_connects_with_mutual_authentication(
    pristine: Path, roster: Federation, other_authority: Authority
) -> None:
    import grpc
    from nvflare.fuel.f3.drivers.driver_params import DriverParams
    from nvflare.fuel.f3.drivers.grpc.utils import get_grpc_client_credentials, get_grpc_server_credentials

    serving, dialling = paths(pristine, roster, SERVER), paths(pristine, roster, SITE)
    server = grpc.server(futures.ThreadPoolExecutor(1))
    credentials = get_grpc_server_credentials(
        {
            DriverParams.CA_CERT.value: str(serving.root),
            DriverParams.SERVER_CERT: str(serving.certificate),
            DriverParams.SERVER_KEY: str(serving.key),
        }
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        client = {
            DriverParams.CA_CERT.value: str(dialling.root),
            DriverParams.CLIENT_CERT: str(dialling.certificate),
            DriverParams.CLIENT_KEY: str(dialling.key),
        }
        with grpc.secure_channel(f"localhost:{port}", get_grpc_client_credentials(client)) as channel:
            grpc.channel_ready_future(channel).result(timeout=10)
        strange = client | {DriverParams.CA_CERT.value: str(other_authority.folder / "authority.crt")}
        with (
            grpc.secure_channel(f"localhost:{port}", get_grpc_client_credentials(strange)) as channel,
            pytest.raises(grpc.FutureTimeoutError),
        ):
            grpc.channel_ready_future(channel).result(timeout=1)
    finally:
        server.stop(None).wait(5)
