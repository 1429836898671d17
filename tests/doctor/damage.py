# SPDX-License-Identifier: Apache-2.0
"""What can be damaged at a site's machine; each function does one thing to a world."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cloister.certificates import PrivateKey, pem
from cloister.trust import roster_file
from tests.doctor.world import SITE, World
from tests.federation_folder import change_document
from tests.signed_policies import revoke_policy


def own_certificate(world: World, **how: timedelta) -> None:
    identity = world.identity(SITE)
    content = world.certify(identity, PrivateKey.load(world.startup / "client.key"), **how)
    world.certificate_file.write_bytes(content)
    print_ = pem.fingerprint(pem.parse_certificate(content, "x"))
    world.publish(pins=world.renamed_pins(SITE, frozenset({print_})))


def expired(world: World) -> None:
    own_certificate(world, begun=timedelta(days=40, hours=1), lasting=timedelta(days=10))


def not_yet(world: World) -> None:
    own_certificate(world, begun=-timedelta(days=10))


def overdue(world: World) -> None:
    own_certificate(world, begun=timedelta(days=95), lasting=timedelta(days=100, hours=1))


def other_key(world: World) -> None:
    mine = PrivateKey.load(world.startup / "client.key").public_key
    stranger = next(key for key in world.keys if key.public_key != mine)
    (world.startup / "client.key").unlink()
    stranger.write(world.startup / "client.key")


def other_authority(world: World) -> None:
    key = PrivateKey.load(world.startup / "client.key")
    world.certificate_file.write_bytes(world.certify(world.identity(SITE), key, by=world.strangers))


def no_certificate(world: World) -> None:
    world.certificate_file.unlink()


def damaged_certificate(world: World) -> None:
    world.certificate_file.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def loose_key(world: World) -> None:
    (world.startup / "client.key").chmod(0o640)


def loose_folder(world: World) -> None:
    (world.root / ".cloister").chmod(0o755)


def loose_startup(world: World) -> None:
    world.startup.chmod(0o750)


def loose_other_secret(world: World) -> None:
    (world.workspace / "split.key").write_bytes(b"x" * 32)
    (world.workspace / "split.key").chmod(0o604)


def renamed_organisation(world: World) -> None:
    sites = tuple(
        replace_entry(each, organisation="another") if each.name == SITE else each for each in world.document.sites
    )
    world.publish(federation=world.document.model_copy(update={"sites": sites}))


def replace_entry(entry: object, **changes: str) -> object:
    return entry.model_copy(update=changes)  # type: ignore[attr-defined]


def off_the_roster(world: World) -> None:
    sites = tuple(each for each in world.document.sites if each.name != SITE)
    world.publish(federation=world.document.model_copy(update={"sites": sites}))


def no_roster(world: World) -> None:
    roster_file(world.workspace).unlink()


def damaged_roster(world: World) -> None:
    roster_file(world.workspace).write_bytes(b"{}")


def stale(world: World) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    world.publish(issued_at=now - timedelta(days=9), next_update=now - timedelta(days=2))


def other_serial(world: World) -> None:
    world.publish(pins=world.renamed_pins(SITE, frozenset({"0" * 64})))


def revoked(world: World) -> None:
    world.revoke(SITE, "the machine was stolen")


def unsigned(world: World) -> None:
    (world.root / "policies" / f"{SITE}.yaml.sig").unlink(missing_ok=True)
    for path in (world.root / "policies").glob(f"*{SITE}*"):
        if path.suffix != ".yaml":
            path.unlink()


def ended(world: World) -> None:
    change_document(world.root, f"policies/{SITE}.yaml", {"valid_until": "2026-02-01"})


def changed_after_signing(world: World) -> None:
    change_document(world.root, f"policies/{SITE}.yaml", {"purposes": ["marketing"]})


def revoked_policy(world: World) -> None:
    revoke_policy(world.root, SITE)


def invalid_document(world: World) -> None:
    (world.root / "silos" / f"{SITE}.yaml").write_text("site: alpha\nno_such_key: 1\n", encoding="utf-8")


def model_gone(world: World) -> None:
    places = {"all-minilm-l6-v2": {"path": "nowhere"}}
    change_document(world.root, f"silos/{SITE}.yaml", {"base_models": places})


def model_without_weights(world: World) -> None:
    (world.root / "empty").mkdir()
    places = {"all-minilm-l6-v2": {"path": "empty"}}
    change_document(world.root, f"silos/{SITE}.yaml", {"base_models": places})


def other_model(world: World) -> None:
    (world.root / "other").mkdir()
    (world.root / "other" / "model.safetensors").write_bytes(b"other weights")
    places = {"all-minilm-l6-v2": {"path": "other"}}
    change_document(world.root, f"silos/{SITE}.yaml", {"base_models": places})


def records_gone(world: World) -> None:
    (world.root / "records" / f"{SITE}.csv").unlink()


def column_gone(world: World) -> None:
    (world.root / "records" / f"{SITE}.csv").write_text("patient_id,note\nP1,x\n", encoding="utf-8")


def much_memory(world: World) -> None:
    change_document(world.root, f"silos/{SITE}.yaml", {"capacity": {"memory_gib": 4096}})


def broken_log(world: World) -> None:
    (world.workspace / "audit").mkdir(mode=0o700)
