# SPDX-License-Identifier: Apache-2.0
"""An old NVFlare kit proves who asks, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cloister.certificates import Identity, PrivateKey, pem
from cloister.envelope import seal
from cloister.errors import CloisterError, ProvisioningError, SignatureError
from cloister.files import canonical_json
from cloister.provisioning import adoption
from cloister.provisioning.adoption import ADOPTION, adopt, verify_adoption
from cloister.roster import Role
from tests.nvflare_project.projects import PLAIN
from tests.provisioning.nvflare_kits import OldProject, nvflare_kits, write_kit

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SITE = Identity("tud-dl3", "tud", "site")
PERSON = Identity("jiefu@tu-dresden.de", "tud", "person", Role.DATA_SCIENTIST)
SERVER = Identity("dl3-tud-de", "tud", "server", hosts=("dl3.tud.de",))
REQUEST = b"-----BEGIN CERTIFICATE REQUEST-----\nnew key\n"


@dataclass
class Signer:
    """Any key, as `seal` asks for one."""

    key: rsa.RSAPrivateKey

    def sign(self, message: bytes) -> bytes:
        return PrivateKey(self.key).sign(message)


@pytest.fixture(scope="module")
def project() -> OldProject:
    return OldProject(NOW)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def proof(key: Any, certificate: x509.Certificate, identity: Identity = SITE, request: bytes = REQUEST) -> bytes:
    """What a forger could seal, who asks none of `adopt`'s questions."""
    return seal(ADOPTION, canonical_json(adoption._statement(request, identity)), Signer(key), certificate)


def refusal(given: bytes, root: x509.Certificate, identity: Identity = SITE, request: bytes = REQUEST) -> str:
    with pytest.raises(SignatureError) as caught:
        verify_adoption(given, request, identity, root, NOW, issued=())
    assert caught.value.exit_status == 3
    return str(caught.value)


@pytest.mark.parametrize("old", ["tud_dl3", "tud-dl3", "TUD_DL3"])
def test_an_old_kit_proves_who_asks(project: OldProject, key: Any, old: str, tmp_path: Path) -> None:
    certificate = project.certificate(old, key=key)
    startup = write_kit(tmp_path / "startup", key, certificate)
    found = verify_adoption(adopt(REQUEST, startup, SITE, NOW), REQUEST, SITE, project.root(), NOW, issued=())
    assert (found.old_name, found.old_organisation, found.key_bits) == (old, "tud", 2048)
    assert found.fingerprint == pem.fingerprint(certificate)
    assert found.not_after == certificate.not_valid_after_utc


@pytest.mark.parametrize(
    ("identity", "old", "role", "stem"),
    [(PERSON, "Jiefu@tu-dresden.de", "lead", "client"), (SERVER, "dl3.tud.de", None, "server")],
)
def test_people_and_servers_too(
    project: OldProject, key: Any, identity: Identity, old: str, role: str | None, stem: str, tmp_path: Path
) -> None:
    startup = write_kit(tmp_path / "startup", key, project.certificate(old, key=key, role=role), stem)
    found = verify_adoption(adopt(REQUEST, startup, identity, NOW), REQUEST, identity, project.root(), NOW, issued=())
    assert found.old_name == old


def test_the_proof_holds_no_secret(project: OldProject, key: Any, tmp_path: Path) -> None:
    startup = write_kit(tmp_path / "startup", key, project.certificate("tud_dl3", key=key))
    said = adopt(REQUEST, startup, SITE, NOW)
    assert b"PRIVATE" not in said
    assert str(key.private_numbers().d).encode() not in said


FORGED: dict[str, tuple[Callable[[OldProject, Any], tuple[Any, x509.Certificate]], str]] = {
    "of another site": (
        lambda p, k: (k, p.certificate("tud_dl0", key=k)),
        "is that of `tud_dl0`, and not of `tud-dl3`",
    ),
    "of an admin": (
        lambda p, k: (k, p.certificate("tud_dl3", key=k, role="lead")),
        "is an admin's, and `tud-dl3` is a site",
    ),
    "expired": (lambda p, k: (k, p.certificate("tud_dl3", key=k, days=(-400, -1))), "counts from 2025-10-23"),
    "not yet valid": (lambda p, k: (k, p.certificate("tud_dl3", key=k, days=(1, 300))), "counts from 2026-11-28"),
    "of an authority": (lambda p, k: (k, p.certificate("tud_dl3", key=k, authority=True)), "is that of an authority"),
    "the root itself": (lambda p, _: (p.key, p.root()), "is that of an authority"),
    "self-signed": (
        lambda p, k: (k, p.certificate("tud_dl3", key=k, signer=k, issuer="tud_dl3")),
        "was not signed by the old root",
    ),
    "signed by a stranger in the root's name": (
        lambda p, k: (k, p.certificate("tud_dl3", key=k, signer=k)),
        "was not signed by the old root",
    ),
    "with two names": (lambda p, k: (k, p.certificate("tud_dl3", key=k, names=2)), "2 common names instead of one"),
    "with no organisation and another name": (
        lambda p, k: (k, p.certificate("x", key=k, organisation=None)),
        "is that of `x`",
    ),
    "with a name that none here could bear": (
        lambda p, k: (k, p.certificate("tud dl3", key=k)),
        "is that of `tud dl3`",
    ),
}


@pytest.mark.parametrize(("made", "sentence"), FORGED.values(), ids=FORGED)
def test_a_certificate_that_is_not_the_old_one_of_this_name_proves_nothing(
    project: OldProject, key: Any, made: Any, sentence: str
) -> None:
    signer, certificate = made(project, key)
    assert sentence in refusal(proof(signer, certificate), project.root())


def test_a_weak_old_key_proves_nothing(project: OldProject) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    assert "RSA-1024, and 2048 bits are the least" in refusal(
        proof(weak, project.certificate("tud_dl3", key=weak)), project.root()
    )


def test_a_weak_root_proves_nothing(key: Any) -> None:
    weak = OldProject(NOW, rsa.generate_private_key(65537, 1024))
    assert "the key of the old root is RSA-1024" in refusal(
        proof(key, weak.certificate("tud_dl3", key=key)), weak.root()
    )


def test_a_weak_digest_proves_nothing(project: OldProject, key: Any) -> None:
    # The library signs over no digest weaker than SHA-224 any more.
    certificate = project.certificate("tud_dl3", key=key, digest=hashes.SHA224())
    assert "over a digest that is too weak" in refusal(proof(key, certificate), project.root())


@pytest.mark.parametrize("days", [(-400, -1), (1, 400)])
def test_a_root_out_of_its_time_proves_nothing(project: OldProject, key: Any, days: tuple[int, int]) -> None:
    given = proof(key, project.certificate("tud_dl3", key=key))
    assert "the old root counts from" in refusal(given, project.root(days=days))


def test_a_root_that_is_none_proves_nothing(project: OldProject, key: Any) -> None:
    given = proof(key, project.certificate("tud_dl3", key=key))
    leaf = project.certificate("tud_dl3", key=key)
    assert "is not the certificate of an authority" in refusal(given, leaf)
    crossed = project.certificate("old_project", key=project.key, authority=True, signer=key, issuer="elsewhere")
    assert "is not the certificate of an authority" in refusal(given, crossed)


def test_a_root_of_another_kind_of_key_proves_nothing(project: OldProject, key: Any) -> None:
    curve = OldProject(NOW, ec.generate_private_key(ec.SECP256R1()))
    assert "is not an RSA key" in refusal(proof(key, project.certificate("tud_dl3", key=key)), curve.root())


def test_a_proof_is_for_one_request_and_one_name(project: OldProject, key: Any) -> None:
    given = proof(key, project.certificate("tud_dl3", key=key))
    assert "for another request or another name" in refusal(given, project.root(), request=REQUEST + b"\n")
    other = Identity("tud-dl0", "tud", "site")
    assert "for another request or another name" in refusal(given, project.root(), other)
    as_person = Identity("tud-dl3", "tud", "person", Role.IT_ADMIN)
    assert "for another request or another name" in refusal(given, project.root(), as_person)


@pytest.mark.parametrize(
    "change",
    [
        lambda given: given[:-5],
        lambda given: b"",
        lambda given: b"null",
        lambda given: given.replace(b"adoption", b"policy"),
        lambda given: given + b" ",
        lambda given: json.dumps(json.loads(given)).encode(),
        lambda given: b"[" * 100_000,
        lambda given: b"x" * (2 << 20),
    ],
)
def test_a_proof_that_was_changed_is_none(project: OldProject, key: Any, change: Callable[[bytes], bytes]) -> None:
    given = proof(key, project.certificate("tud_dl3", key=key))
    refusal(change(given), project.root())


def test_another_keys_signature_is_none(project: OldProject, key: Any) -> None:
    other = rsa.generate_private_key(65537, 2048)
    assert "does not fit" in refusal(proof(other, project.certificate("tud_dl3", key=key)), project.root())


def test_what_cannot_be_judged_proves_nothing(project: OldProject, key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given = proof(key, project.certificate("tud_dl3", key=key))
    monkeypatch.setattr(adoption, "_judged", lambda *_: 1 / 0)
    assert "cannot be read" in refusal(given, project.root())


def test_a_key_that_others_can_read_is_not_used(project: OldProject, key: Any, tmp_path: Path) -> None:
    startup = write_kit(tmp_path, key, project.certificate("tud_dl3", key=key))
    (startup / "client.key").chmod(0o644)
    with pytest.raises(ProvisioningError, match=r"can be read by others \(mode 0644\)"):
        adopt(REQUEST, startup, SITE, NOW)


def test_a_kit_is_judged_before_it_is_used(project: OldProject, key: Any, tmp_path: Path) -> None:
    other = rsa.generate_private_key(65537, 2048)
    kits = {
        "missing": tmp_path / "nowhere",
        "another key": write_kit(tmp_path / "a", other, project.certificate("tud_dl3", key=key)),
        "another name": write_kit(tmp_path / "b", key, project.certificate("tud_dl0", key=key)),
        "expired": write_kit(tmp_path / "c", key, project.certificate("tud_dl3", key=key, days=(-9, -1))),
        "a curve": write_kit(
            tmp_path / "d",
            *(lambda c: (c, project.certificate("tud_dl3", key=c)))(ec.generate_private_key(ec.SECP256R1())),
        ),
        "no key": write_kit(tmp_path / "e", key, project.certificate("tud_dl3", key=key)),
    }
    (kits["no key"] / "client.key").write_text("nothing")
    for startup in kits.values():
        with pytest.raises(CloisterError):
            adopt(REQUEST, startup, SITE, NOW)


def test_an_old_kit_counts_for_the_first_certificate_alone(project: OldProject, key: Any) -> None:
    asking = PrivateKey(rsa.generate_private_key(65537, 3072))
    request = asking.request(SITE)
    given = proof(key, project.certificate("tud_dl3", key=key), request=request)
    here = OldProject(NOW)
    of_others = here.certificate("tud-dl0", key=key)
    the_same = here.certificate("tud-dl3", key=asking._key)
    verify_adoption(given, request, SITE, project.root(), NOW, issued=(of_others, the_same))
    another = here.certificate("tud-dl3", key=key)
    with pytest.raises(SignatureError, match="`tud-dl3` has had a certificate here"):
        verify_adoption(given, request, SITE, project.root(), NOW, issued=(of_others, another))
    with pytest.raises(SignatureError, match="cannot be read"):
        verify_adoption(
            proof(key, project.certificate("tud_dl3", key=key)), REQUEST, SITE, project.root(), NOW, issued=(another,)
        )


@pytest.mark.slow
def test_kits_that_nvflare_made_prove_who_asks(tmp_path: Path) -> None:
    kits, now = nvflare_kits(PLAIN.replace("site-1", "St_Marys"), tmp_path), datetime.now(UTC)
    root = pem.read_certificate(kits / "server1" / "startup" / "rootCA.pem")
    for folder, identity in {
        "server1": Identity("server1", "nvidia", "server", hosts=("server1",)),
        "St_Marys": Identity("st-marys", "nvidia", "site"),
        "lead@nvidia.com": Identity("lead@nvidia.com", "nvidia", "person", Role.DATA_SCIENTIST),
    }.items():
        given = adopt(REQUEST, kits / folder / "startup", identity, now)
        found = verify_adoption(given, REQUEST, identity, root, now, issued=())
        assert (found.old_name, found.key_bits) == (folder, 2048)
        with pytest.raises(SignatureError, match="counts from"):
            verify_adoption(given, REQUEST, identity, root, now + timedelta(days=361), issued=())
    other = nvflare_kits(PLAIN, tmp_path / "other")
    stranger = pem.read_certificate(other / "server1" / "startup" / "rootCA.pem")
    with pytest.raises(SignatureError, match="was not signed by the old root"):
        verify_adoption(given, REQUEST, identity, stranger, datetime.now(UTC), issued=())
