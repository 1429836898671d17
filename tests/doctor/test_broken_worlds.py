# SPDX-License-Identifier: Apache-2.0
"""A table of worlds in which one thing is wrong; each must be told with its code, in its words, and as a problem."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import pem, profile
from cloister.doctor import Level
from cloister.errors import CertificateError
from cloister.trust import roster_file
from tests.doctor import damage
from tests.doctor.world import SITE, World, codes
from tests.federation_folder import change_document
from tests.signed_policies import sign_policies


@dataclass(frozen=True)
class Broken:
    """One world.

    Attributes:
        name: of the case.
        breaks: does the damage.
        code: that it must be told with.
        says: what stands in the sentence.
        alone: whether nothing else may be a problem.
    """

    name: str
    breaks: Callable[[World], None]
    code: str
    says: str
    alone: bool = True


TABLE = [
    Broken(
        "own certificate expired", damage.expired, "D0608", r"expired on .* UTC, 30 days .* ago by this machine's clock"
    ),
    Broken("own certificate not yet valid", damage.not_yet, "D0609", r"is not valid before", alone=False),
    Broken("renewal overdue", damage.overdue, "D0614", r"in 5 days .*nine tenths of its life are over"),
    Broken("key of another certificate", damage.other_key, "D0605", r"does not belong to the key beside it"),
    Broken("certificate of another authority", damage.other_authority, "D0606", r"was signed by another authority"),
    Broken("no certificate", damage.no_certificate, "D0601", r"client\.crt` is missing"),
    Broken("damaged certificate", damage.damaged_certificate, "D0602", r"`.*client\.crt` .*certificate"),
    Broken("key readable by others", damage.loose_key, "D0603", r"can be read by others \(mode 0640\)", alone=False),
    Broken("state folder open", damage.loose_folder, "D1401", r"`.*/\.cloister` is open to others \(mode 0755\)"),
    Broken("folder of the key open", damage.loose_startup, "D0604", r"startup` is open to others", alone=False),
    Broken(
        "another secret open", damage.loose_other_secret, "D1402", r"split\.key` can be read by others \(mode 0604\)"
    ),
    Broken(
        "entry changed", damage.renamed_organisation, "D0610", r"differs from the roster's entry `alpha` in `subject`"
    ),
    Broken("off the roster", damage.off_the_roster, "D0701", r"`alpha` is not in version 2 of the roster", alone=False),
    Broken("no roster", damage.no_roster, "D0702", r"the signed roster `.*roster\.json` is missing"),
    Broken("damaged roster", damage.damaged_roster, "D0703", r"roster\.json`: "),
    Broken("stale roster", damage.stale, "D0704", r"version 2 of the roster is stale: .* 2 days .*no new jobs"),
    Broken(
        "other serial", damage.other_serial, "D0707", r"serial number [0-9a-f]+, which was not issued for that entry"
    ),
    Broken("revoked", damage.revoked, "D0612", r"was revoked on .* UTC: the machine was stolen"),
    Broken("policy unsigned", damage.unsigned, "D0801", r"takes no jobs: `policies/alpha\.yaml` is not signed"),
    Broken("policy ended", damage.ended, "D0802", r"the policy ended on 2026-02-01 .*policies/alpha\.yaml:\d+"),
    Broken("policy changed", damage.changed_after_signing, "D0803", r"takes no jobs: .*policies/alpha\.yaml"),
    Broken("policy revoked", damage.revoked_policy, "D0803", r"takes no jobs: .*revoked"),
    Broken("invalid document", damage.invalid_document, "D1501", r"`silos/alpha\.yaml:2`: unknown key `no_such_key`"),
    Broken("base model missing", damage.model_gone, "D1101", r"`all-minilm-l6-v2`: `.*/nowhere` is no folder"),
    Broken("base model without weights", damage.model_without_weights, "D1101", r"holds no `model\.safetensors`"),
    Broken(
        "another base model",
        damage.other_model,
        "D1102",
        r"has sha256 [0-9a-f]{16}…, and the policy of `alpha` pins 53aa",
    ),
    Broken(
        "records missing",
        damage.records_gone,
        "D1201",
        r"dataset `clinical-notes` cannot be read: .*silos/alpha\.yaml:\d+",
    ),
    Broken("column missing", damage.column_gone, "D1201", r"no column `triage`"),
    Broken("more memory promised", damage.much_memory, "D1003", r"GiB of memory, and .* promises 4096 GiB to a job"),
    Broken("audit log removed", damage.broken_log, "D1701", r"not what was written: missing: the log was removed"),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_the_damage_is_told_with_its_code_and_its_sentence(world: World, case: Broken) -> None:
    case.breaks(world)
    findings = world.findings()  # without a server: whether it can be reached has a table of its own
    told = [each for each in findings if each.code == case.code]
    assert told, codes(findings)
    assert any(re.search(case.says, each.message) for each in told), [each.message for each in told]
    assert all(each.level is Level.PROBLEM and each.hint for each in told)
    if case.alone:
        assert codes(findings) == {case.code}


def test_two_thirds_of_a_certificate_s_life_are_a_warning(world: World) -> None:
    damage.own_certificate(world, begun=timedelta(days=70), lasting=timedelta(days=100, hours=1))
    findings = world.findings()
    assert codes(findings) == set()
    (due,) = [each for each in findings if each.code == "D0613"]
    assert re.search(r"in 30 days .*two thirds of its life are over", due.message)
    assert "cloister renew alpha" in due.hint


def test_a_document_that_the_authority_has_not_published_is_a_warning(world: World) -> None:
    change_document(world.root, "provisioning/federation.yaml", {"lifetimes": {"site_days": 9}})
    findings = world.findings()
    assert codes(findings) == set()
    assert "D0706" in {each.code for each in findings}


def test_a_site_whose_key_is_here_and_that_no_document_names_is_told_of(world: World) -> None:
    tree = {"sites": [{"name": "beta", "organisation": "beta-hospital"}]}
    change_document(world.root, "provisioning/federation.yaml", tree)
    roster_file(world.workspace).unlink()
    findings = world.findings("alpha")
    assert {"D0701", "D0702"} <= codes(findings)
    assert SITE in [section.name for section in world.sections("")]


def test_a_policy_that_switches_the_sandbox_off_is_a_warning(world: World) -> None:
    for name in (SITE, "baseline"):
        change_document(world.root, f"policies/{name}.yaml", {"sandbox": "unsafe-none"})
    assert "D0902" in {each.code for each in world.findings()}


def test_no_sandbox_is_a_problem(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloister.doctor.site.missing", lambda: "bubblewrap is not installed (install it)")
    findings = world.findings()
    assert codes(findings) == {"D0901"}
    (told,) = [each for each in findings if each.code == "D0901"]
    assert told.message == "there is no sandbox: bubblewrap is not installed (install it)"


def test_a_key_of_somebody_else_s_is_told_of(world: World) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(world.startup / "client.key", 12345, -1)
    assert "D1403" in codes(world.findings())


def test_no_record_is_quoted(world: World, tmp_path: Path) -> None:
    secret = "Jane Doe, born 1970"
    (world.root / "records" / f"{SITE}.csv").write_text(f"{secret}\n{secret}\n", encoding="utf-8")
    findings = world.findings()
    assert codes(findings) == {"D1201"}
    assert all("Jane" not in f"{each.message} {each.hint}" for each in findings)


def test_a_renewal_that_was_interrupted_is_a_warning_whatever_was_replaced_already(world: World) -> None:
    ready = world.workspace / "renewal" / "ready"
    ready.mkdir(parents=True, mode=0o700)
    damage.other_key(world)
    findings = world.findings()
    assert codes(findings) == set()
    assert "D0617" in {each.code for each in findings}


def test_a_request_that_waits_is_named_where_renewal_is_due(world: World) -> None:
    damage.own_certificate(world, begun=timedelta(days=70), lasting=timedelta(days=100))
    (world.workspace / "renewal").mkdir(mode=0o700)
    (world.workspace / "renewal" / "pending.json").write_text("{}")
    (due,) = [each for each in world.findings() if each.code == "D0613"]
    assert due.hint == "the request waits for an answer: remind the authority's people"


def test_a_machine_with_no_documents_but_the_site_s_own_is_in_order(world: World) -> None:
    for name in ("silos/beta.yaml", "policies/beta.yaml", "policies/beta.yaml.sig", "records/beta.csv"):
        (world.root / name).unlink(missing_ok=True)
    for folder in ("jobs", "policies/cases"):
        shutil.rmtree(world.root / folder)
    assert codes(world.findings()) == set()
    assert codes(world.findings("")) == set()


def test_a_key_that_is_encrypted_opens_with_its_passphrase_and_is_told_without_one(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = (world.startup / "client.key").read_bytes()
    secret = b"a passphrase of these tests"
    key = serialization.load_pem_private_key(content, None)
    form = serialization.PrivateFormat.PKCS8
    encryption = serialization.BestAvailableEncryption(secret)
    (world.startup / "client.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))
    with world.serving():
        findings = world.findings()
        assert codes(findings) == {"D0602"}
        assert "D0315" in {each.code for each in findings}
        file = tmp_path / "passphrase"
        file.write_bytes(secret)
        file.chmod(0o600)
        monkeypatch.setenv("CLOISTER_PASSPHRASE_FILE", str(file))
        findings = world.findings()
    assert codes(findings) == set()
    assert "D0300" in {each.code for each in findings}
    assert all(secret.decode() not in f"{each.message}{each.hint}" for each in findings)


def test_a_root_that_is_no_authority_s_is_told(world: World) -> None:
    shutil.copy(world.certificate_file, world.startup / "rootCA.pem")
    assert {"D0607", "D0703"} <= codes(world.findings())


def test_a_certificate_of_a_weak_key_is_told_wherever_it_lies(world: World) -> None:
    weak = rsa.generate_private_key(65537, 2048)
    issuer = world.authority.certificate
    now = datetime.now(UTC)
    for name, path in (("alpha", world.certificate_file), ("coordinator", world.server / "weak.crt")):
        builder = profile.leaf_builder(world.identity(name), weak.public_key(), issuer, timedelta(days=9), now)
        path.write_bytes(pem.certificate_pem(world.authority.key_of(issuer).certify(builder)))
    key = world.server / "weak.key"
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key.write_bytes(weak.private_bytes(serialization.Encoding.PEM, form, none))
    with world.serving(certificate=world.server / "weak.crt", key=key):
        findings = world.findings()
    assert {"D0308", "D0611"} <= codes(findings)
    told = [each for each in findings if each.code in ("D0308", "D0611")]
    assert all("a key that is RSA-2048" in each.message for each in told)


@pytest.mark.parametrize(("days", "code", "level"), [(3200, "D0615", Level.WARNING), (4000, "D0616", Level.PROBLEM)])
def test_the_end_of_the_authority_is_told(world: World, days: int, code: str, level: Level) -> None:
    told = [each for each in world.findings(now=datetime.now(UTC) + timedelta(days=days)) if each.code == code]
    assert told
    assert told[0].level is level
    assert "cloister authority rotate" in told[0].hint


def test_whatever_else_the_roster_s_judge_says_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise CertificateError("the certificate cannot be judged")

    monkeypatch.setattr("cloister.doctor.roster.judge", refuse)
    findings = world.findings()
    assert codes(findings) == {"D0705"}


def test_a_policy_that_ends_soon_is_a_warning(world: World) -> None:
    end = (datetime.now(UTC) + timedelta(days=10)).date()
    change_document(world.root, f"policies/{SITE}.yaml", {"valid_until": end.isoformat(), "version": 2})
    sign_policies(world.root, SITE)
    findings = world.findings()
    assert codes(findings) == set()
    (soon,) = [each for each in findings if each.code == "D0804"]
    assert f"the policy counts until {end}, 10 days from now" in soon.message


def test_a_base_model_that_nothing_pins_is_a_warning(world: World) -> None:
    (world.root / "spare").mkdir()
    (world.root / "spare" / "model.safetensors").write_bytes(b"weights")
    change_document(world.root, f"silos/{SITE}.yaml", {"base_models": {"spare": {"path": "spare"}}})
    findings = world.findings()
    assert codes(findings) == set()
    assert "D1103" in {each.code for each in findings}
