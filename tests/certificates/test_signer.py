# SPDX-License-Identifier: Apache-2.0
import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from cloister.certificates import Anchors, PrivateKey, profile, signer_of, startup_folder
from cloister.certificates.pem import read_certificate
from cloister.envelope import Envelope, seal, unseal
from cloister.errors import SignatureError
from cloister.provisioning.kit import KitPaths
from tests.provisioning.world import PERSON, SITE, federation, identity

KIND = "application/vnd.cloister.test+json"


@pytest.fixture
def kits(pristine: Path, roster):
    def paths(name: str) -> KitPaths:
        who = identity(roster, name)
        return KitPaths.of(startup_folder(pristine, who), who)

    return paths


def statement(paths: KitPaths) -> Envelope:
    certificate = read_certificate(paths.certificate)
    return unseal(KIND, seal(KIND, b"{}", PrivateKey.load(paths.key), certificate))


def anchors(paths: KitPaths) -> Anchors:
    return Anchors.of(read_certificate(paths.root))


@pytest.mark.parametrize("name", [PERSON, SITE, "coordinator"])
def test_the_signer_is_the_entry_of_the_roster(kits, roster, now, name):
    paths = kits(name)
    assert signer_of(statement(paths), roster, anchors(paths), now) == identity(roster, name)


def test_another_authority_did_not_certify_anybody_here(kits, roster, now):
    key = PrivateKey.generate()
    builder = profile.root_builder("trial", key.public_key, 10, now)
    other = key.certify(builder)
    with pytest.raises(SignatureError, match="did not certify"):
        signer_of(statement(kits(PERSON)), roster, Anchors.of(other), now)


def test_a_certificate_that_names_itself_is_not_certified(kits, roster, now):
    key = PrivateKey.generate()
    who = identity(roster, PERSON)
    name = profile.subject(who)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key)
    builder = builder.serial_number(7).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(1))
    certificate = key.certify(builder)
    envelope = unseal(KIND, seal(KIND, b"{}", key, certificate))
    with pytest.raises(SignatureError, match="did not certify"):
        signer_of(envelope, roster, anchors(kits(PERSON)), now)


@pytest.mark.parametrize("days", [-1, 400])
def test_a_certificate_counts_only_while_it_is_valid(kits, roster, now, days):
    paths = kits(PERSON)
    with pytest.raises(SignatureError, match="not valid now"):
        signer_of(statement(paths), roster, anchors(paths), now + timedelta(days=days))


@pytest.mark.parametrize(
    "changes", [{"role": "it-admin"}, {"organisation": "elsewhere"}, {"name": "bob@research.example"}]
)
def test_another_role_organisation_or_name_is_another_entry(kits, now, changes):
    paths = kits(PERSON)
    person = {"name": PERSON, "organisation": "institute", "role": "data-scientist"} | changes
    with pytest.raises(SignatureError, match="not in the roster"):
        signer_of(statement(paths), federation(people=(person,)), anchors(paths), now)


def test_the_authority_itself_signs_nothing(pristine, roster, now, kits):
    folder = pristine / "authority"
    root = read_certificate(kits(PERSON).root)
    key = PrivateKey.load(next(folder.glob("*.key")))
    envelope = unseal(KIND, seal(KIND, b"{}", key, root))
    with pytest.raises(SignatureError):
        signer_of(envelope, roster, Anchors.of(root), now)


def test_the_statement_names_its_certificate(kits):
    paths = kits(PERSON)
    certificate = read_certificate(paths.certificate)
    entry = json.loads(seal(KIND, b"{}", PrivateKey.load(paths.key), certificate))["signatures"][0]
    assert entry["keyid"] == certificate.fingerprint(hashes.SHA256()).hex()
