# SPDX-License-Identifier: Apache-2.0
"""The gate before a process is started: a kit is right in every respect, or refused in one sentence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import Identity, PrivateKey, identities, pem, startup_folder
from cloister.certificates import profile as profiles
from cloister.errors import ProvisioningError
from cloister.provisioning import Authority, Fault, check_kit
from cloister.provisioning.kit import Kit, faults, read_kit
from cloister.roster import Federation
from tests.provisioning.world import PERSON, SERVER, SITE, federation, identity

BAD_CHAINS = Path(__file__).parents[3] / "shared" / "data" / "bad_inputs" / "badssl_chains"
CHAINS = sorted(path.name for pattern in ("*.pem", "*.crt") for path in BAD_CHAINS.glob(pattern))
needs_chains = pytest.mark.skipif(not CHAINS, reason=f"the bad certificate chains are not in {BAD_CHAINS}")


def refuse(startup: Path, who: Identity, now: datetime, words: str) -> None:
    with pytest.raises(ProvisioningError, match=words) as caught:
        check_kit(startup, who, now)
    assert_is_one_sentence(caught.value.message)


def assert_is_one_sentence(message: str) -> None:
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 300
    assert not message.endswith(".")


def test_a_fresh_kit_is_right(pristine: Path, roster: Federation, now: datetime) -> None:
    for each in identities(roster):
        check_kit(startup_folder(pristine, each), each, now)


def test_time_is_judged_at_the_second(pristine: Path, roster: Federation, now: datetime) -> None:
    site = identity(roster, SITE)
    kit = read_kit(startup_folder(pristine, site), site)
    assert kit.certificate is not None
    begin, end = kit.certificate.not_valid_before_utc, kit.certificate.not_valid_after_utc
    second = timedelta(seconds=1)

    def found(moment: datetime) -> set[Fault]:
        return {finding.fault for finding in faults(kit, site, moment)}

    assert found(begin) == found(end) == set()
    assert found(begin - second) == {Fault.NOT_YET_VALID}
    assert found(end + second) == {Fault.EXPIRED}
    refuse(startup_folder(pristine, site), site, end + second, "client.crt` expired on ")
    refuse(startup_folder(pristine, site), site, begin - second, "is not valid before ")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "client.key` is missing": lambda startup: (startup / "client.key").unlink(),
    "client.crt` is missing": lambda startup: (startup / "client.crt").unlink(),
    "rootCA.pem` is missing": lambda startup: (startup / "rootCA.pem").unlink(),
    "can be read by others": lambda startup: (startup / "client.key").chmod(0o640),
    "is open to others": lambda startup: startup.chmod(0o750),
    "does not hold a private key": lambda startup: (startup / "client.key").write_bytes(b"x"),
    "does not hold a certificate": lambda startup: (startup / "client.crt").write_bytes(b"x"),
    "rootCA.pem` does not hold a certificate": lambda startup: (startup / "rootCA.pem").write_bytes(b""),
    "holds 2 certificates instead of one": lambda startup: (startup / "client.crt").write_bytes(
        (startup / "client.crt").read_bytes() + (startup / "rootCA.pem").read_bytes()
    ),
    "is not the certificate of a federation's authority": lambda startup: shutil.copy(
        startup / "client.crt", startup / "rootCA.pem"
    ),
}


@pytest.mark.parametrize("words", DAMAGES)
def test_damage_is_told_in_one_sentence(state: Path, roster: Federation, now: datetime, words: str) -> None:
    site = identity(roster, SITE)
    startup = startup_folder(state, site)
    DAMAGES[words](startup)
    refuse(startup, site, now, words)


def test_an_absent_folder_is_refused(tmp_path: Path, roster: Federation, now: datetime) -> None:
    refuse(tmp_path / "nowhere", identity(roster, SITE), now, "client.key` is missing")


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path, roster: Federation, now: datetime) -> None:
    (tmp_path / "startup").touch(mode=0o600)
    refuse(tmp_path / "startup", identity(roster, SITE), now, "cannot be read: not a directory")


def test_another_key_is_refused(state: Path, roster: Federation, keys: tuple[PrivateKey, ...], now: datetime) -> None:
    site = identity(roster, SITE)
    path = startup_folder(state, site) / "client.key"
    path.unlink()
    keys[0].write(path)
    refuse(path.parent, site, now, "does not belong to the key beside it")


def test_a_key_that_was_bent_is_refused(state: Path, roster: Federation, now: datetime) -> None:
    # The public half is whole, so that only proving the private one can tell.
    site = identity(roster, SITE)
    path = startup_folder(state, site) / "client.key"
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    true = key.private_numbers()
    bent = rsa.RSAPrivateNumbers(
        true.p, true.q, true.d + 2, true.dmp1, true.dmq1, true.iqmp, true.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(bent.private_bytes(*form))
    assert faults(read_kit(path.parent, site), site, now) == ()
    refuse(path.parent, site, now, "does not hold a private key")


def test_another_authority_is_refused(
    state: Path, roster: Federation, other_authority: Authority, now: datetime
) -> None:
    # It bears the same name, so that only the signature can tell.
    site = identity(roster, SITE)
    startup = startup_folder(state, site)
    (startup / "rootCA.pem").write_bytes(other_authority.certificate_pem)
    refuse(startup, site, now, "was signed by another authority")


def test_a_kit_that_is_right_in_itself_is_wrong_beside_the_known_authority(
    pristine: Path, roster: Federation, other_authority: Authority, now: datetime
) -> None:
    site = identity(roster, SITE)
    kit = read_kit(startup_folder(pristine, site), site)
    found = faults(kit, site, now, other_authority.anchors)
    assert {finding.fault for finding in found} == {Fault.OTHER_AUTHORITY}


def test_a_kit_of_somebody_else_is_refused(pristine: Path, roster: Federation, now: datetime) -> None:
    startup = startup_folder(pristine, identity(roster, SITE))
    refuse(startup, Identity("bank-oak", "northfield", "site"), now, "`bank-oak` in `subject`, `subjectAltName`")
    refuse(startup, identity(roster, PERSON), now, "differs from the roster's entry")
    server = startup_folder(pristine, identity(roster, SERVER))
    moved = identity(federation(server={"name": SERVER, "organisation": "institute", "host": "fl.example"}), SERVER)
    refuse(server, moved, now, "`coordinator` in `subjectAltName`: it is for `DNS:localhost`, ")


@pytest.fixture(scope="module")
def raw_root(rsa_keys: tuple[rsa.RSAPrivateKey, ...], now: datetime) -> x509.Certificate:
    """A root whose private key the test holds, to sign what our authority never would."""
    return profiles.root_builder("trial", rsa_keys[0].public_key(), 30, now).sign(rsa_keys[0], hashes.SHA256())


def test_weaknesses_that_our_own_authority_never_makes_are_refused(
    pristine: Path,
    roster: Federation,
    raw_root: x509.Certificate,
    rsa_keys: tuple[rsa.RSAPrivateKey, ...],
    now: datetime,
) -> None:
    site = identity(roster, SITE)
    paths = read_kit(startup_folder(pristine, site), site).paths
    public = rsa_keys[1].public_key()
    good = profiles.leaf_builder(site, public, raw_root, timedelta(days=10), now)
    extra = good.add_extension(x509.OCSPNoCheck(), critical=False)
    v1_style = x509.CertificateBuilder(
        issuer_name=raw_root.subject,
        subject_name=profiles.subject(site),
        public_key=public,
        serial_number=1,
        not_valid_before=now,
        not_valid_after=now + timedelta(days=1),
    )
    for builder, algorithm, expected in (
        (good, hashes.SHA256(), set()),
        (good, hashes.SHA384(), set()),
        (extra, hashes.SHA256(), {Fault.NOT_IN_ROSTER}),
        (v1_style, hashes.SHA256(), {Fault.NOT_IN_ROSTER}),
    ):
        kit = Kit(paths, public, builder.sign(rsa_keys[0], algorithm), (raw_root,))
        assert {finding.fault for finding in faults(kit, site, now)} == expected


def test_roots_that_are_not_ours_are_refused(
    pristine: Path, roster: Federation, rsa_keys: tuple[rsa.RSAPrivateKey, ...], now: datetime
) -> None:
    site = identity(roster, SITE)
    paths = read_kit(startup_folder(pristine, site), site).paths
    weak = rsa.generate_private_key(65537, 2048)
    name = profiles.authority_subject("trial")
    signer = rsa_keys[0]
    builder = profiles.root_builder("trial", signer.public_key(), 30, now)
    bare = x509.CertificateBuilder(name, name, signer.public_key(), 7, now, now + timedelta(days=30))
    deep = bare.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    roots = {
        "our own": (builder.sign(signer, hashes.SHA256()), set()),
        "RSA-2048": (
            profiles.root_builder("trial", weak.public_key(), 30, now).sign(weak, hashes.SHA256()),
            {Fault.NO_AUTHORITY, Fault.OTHER_AUTHORITY},
        ),
        "not self-signed": (builder.sign(rsa_keys[1], hashes.SHA256()), {Fault.NO_AUTHORITY}),
        "no authority": (bare.sign(signer, hashes.SHA256()), {Fault.NO_AUTHORITY}),
        "may make others": (deep.sign(signer, hashes.SHA256()), {Fault.NO_AUTHORITY}),
    }
    public = rsa_keys[2].public_key()
    leaf = profiles.leaf_builder(site, public, roots["our own"][0], timedelta(days=10), now)
    certificate = leaf.sign(signer, hashes.SHA256())
    for label, (root, expected) in roots.items():
        found = {finding.fault for finding in faults(Kit(paths, public, certificate, (root,)), site, now)}
        assert found - {Fault.REFUSED} == expected, label


@needs_chains
def test_foreign_chains_are_no_keys(state: Path, roster: Federation, now: datetime) -> None:
    site = identity(roster, SITE)
    path = startup_folder(state, site) / "client.key"
    for name in CHAINS:
        path.write_bytes((BAD_CHAINS / name).read_bytes())
        refuse(path.parent, site, now, "does not hold a private key|is larger than 64 KiB")


@needs_chains
def test_foreign_chains_make_no_kit(pristine: Path, roster: Federation, now: datetime) -> None:
    # The pure part of the gate, so that the key need not be checked for each of them; the slow test takes the whole.
    site = identity(roster, SITE)
    good = read_kit(startup_folder(pristine, site), site)
    for name in CHAINS:
        for found in x509.load_pem_x509_certificates((BAD_CHAINS / name).read_bytes()):
            for kit in (
                Kit(good.paths, good.public_key, found, good.roots),
                Kit(good.paths, good.public_key, good.certificate, (found,)),
                Kit(good.paths, good.public_key, found, (found,)),
            ):
                findings = faults(kit, site, now)
                assert findings
                assert_is_one_sentence(findings[0].message)


@needs_chains
@pytest.mark.slow
@pytest.mark.parametrize("file", ["client.crt", "rootCA.pem"])
def test_foreign_chains_are_refused_as_files(state: Path, roster: Federation, now: datetime, file: str) -> None:
    site = identity(roster, SITE)
    path = startup_folder(state, site) / file
    for name in CHAINS:
        path.write_bytes((BAD_CHAINS / name).read_bytes())
        refuse(path.parent, site, now, file)


@needs_chains
def test_one_foreign_chain_is_refused_as_a_file(state: Path, roster: Federation, now: datetime) -> None:
    site = identity(roster, SITE)
    path = startup_folder(state, site) / "client.crt"
    path.write_bytes((BAD_CHAINS / "subdomain-superfish.pem").read_bytes())
    refuse(path.parent, site, now, "client.crt")


def test_a_certificates_public_parts_are_pem(pristine: Path) -> None:
    authority = Authority.open(pristine / "authority")
    assert x509.load_pem_x509_certificate(authority.certificate_pem) == authority.certificate
    der = authority.certificate.public_bytes(serialization.Encoding.DER)
    with pytest.raises(ProvisioningError, match="`it` does not hold a certificate in PEM form"):
        pem.parse_certificate(der, "it")
