# SPDX-License-Identifier: Apache-2.0
"""No certificate but the right ones makes anybody of its holder, and who is refused is told why, everywhere alike."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.certificates import Anchors, PrivateKey
from cloister.certificates.anchors import roots_pem
from cloister.certificates.pem import certificate_pem, fingerprint
from cloister.errors import CertificateError, CloisterError, ProvisioningError, SignatureError
from cloister.provisioning import check_kit
from cloister.provisioning.joining import join
from cloister.provisioning.kit_archive import CERTIFICATE, ROSTER_IN_KIT, make_archive
from cloister.trust import read_roster
from cloister.trust.judge import judge_pem
from cloister.trust.signed_roster import sign_roster
from tests.trust.chains import TABLE, Bad
from tests.trust.chains.cases import CASES, HANDSHAKES, KITS, lay_down, make
from tests.trust.chains.mutual_tls import Side, shake_hands
from tests.trust.chains.world import NAMES, SERVER, SITE, World, make_leaf, make_root, pem, rechained

BAD_CHAINS = Path(__file__).parents[3] / "shared" / "data" / "bad_inputs" / "badssl_chains"
FOREIGN = sorted(path.name for pattern in ("*.pem", "*.crt") for path in BAD_CHAINS.glob(pattern))
needs_chains = pytest.mark.skipif(not FOREIGN, reason=f"the bad certificate chains are not in {BAD_CHAINS}")
# The library warns of names and numbers that the standard does not allow; who shows them is refused all the same.
pytestmark = pytest.mark.filterwarnings("ignore")


def assert_is_one_sentence(message: str) -> None:
    assert message.isprintable()
    assert message.isascii() or "…" in message
    assert len(message) < 400
    assert not message.endswith(".")


def refused(content: bytes, world: World) -> str:
    """Why the roster makes nobody of whoever shows ``content``."""
    with pytest.raises(CertificateError) as caught:
        judge_pem(content, world.trust, world.now)
    assert_is_one_sentence(caught.value.message)
    return caught.value.message


def test_there_are_enough_of_them() -> None:
    assert len(TABLE) >= 45
    assert len({bad.name for bad in TABLE}) == len(TABLE)


@pytest.mark.parametrize(("bad", "kind"), CASES)
def test_whoever_judges_a_connection_refuses_it(worlds: dict[str, World], bad: Bad, kind: str) -> None:
    # Server and site judge each other with the same function; what the site asks besides is in tests/flare.
    shown, world = make(bad, worlds[kind])
    assert re.search(bad.words, refused(shown.content, world))


@pytest.mark.parametrize(("bad", "kind"), KITS)
def test_no_process_starts_with_it(worlds: dict[str, World], tmp_path: Path, bad: Bad, kind: str) -> None:
    shown, world = make(bad, worlds[kind])
    paths = lay_down(tmp_path, world, shown.content)
    if bad.at_kit is None:  # whoever has the kit alone cannot tell
        check_kit(paths.key.parent, world.who, world.now, world.trust.anchors)
        return
    with pytest.raises(ProvisioningError) as caught:
        check_kit(paths.key.parent, world.who, world.now, world.trust.anchors)
    assert_is_one_sentence(caught.value.message)
    own = shown.key is world.leaf_key
    words = (bad.at_kit or bad.words) if own else f"does not belong to the key beside it|{bad.words}"
    assert re.search(words, caught.value.message)


def kit_of(world: World, folder: Path, content: bytes) -> bytes:
    """A kit that the authority signed, whatever certificate is in it."""
    files = {CERTIFICATE: content, ROSTER_IN_KIT: world.roster}
    return make_archive(world.authority(folder), world.who, files, "trial", world.now)


@pytest.mark.parametrize(("bad", "kind"), KITS)
def test_nobody_joins_with_it(worlds: dict[str, World], tmp_path: Path, bad: Bad, kind: str) -> None:
    shown, world = make(bad, worlds[kind])
    state = tmp_path / "state"
    paths = lay_down(state, world, b"as it was")
    kit = kit_of(world, tmp_path / "authority", shown.content)
    if world.now > world.trust.next_update:
        world = replace(world, now=world.trust.next_update)
    with pytest.raises(CloisterError) as caught:
        join(tmp_path / "root", state, world.who.kind, kit, fingerprint(world.root), world.now)
    assert_is_one_sentence(caught.value.message)
    assert re.search(bad.words, caught.value.message)
    assert paths.certificate.read_bytes() == b"as it was"
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("kind", NAMES)
def test_everybody_joins_with_the_right_one(worlds: dict[str, World], tmp_path: Path, kind: str) -> None:
    world, state = worlds[kind], tmp_path / "state"
    paths = lay_down(state, world, b"")
    (tmp_path / "root").mkdir()
    kit = kit_of(world, tmp_path / "authority", world.pem)
    joined = join(tmp_path / "root", state, world.who.kind, kit, fingerprint(world.root), world.now)
    assert joined.identity == world.who
    assert paths.certificate.read_bytes() == world.pem


def good_side(world: World, name: str) -> Side:
    return Side(certificate_pem(world.certificates[name]), world.leaf_key, roots_pem(world.trust.anchors.roots))


@pytest.mark.parametrize(("bad", "kind"), HANDSHAKES)
def test_nobody_gets_past_a_handshake_and_the_judgement(
    worlds: dict[str, World], tmp_path: Path, bad: Bad, kind: str
) -> None:
    shown, world = make(bad, worlds[kind])
    if shown.key is None:  # nobody can show it
        return
    side = Side(shown.content + shown.along, shown.key, roots_pem(world.trust.anchors.roots))
    server, client = (side, good_side(world, SITE)) if kind == "server" else (good_side(world, SERVER), side)
    seen = shake_hands(tmp_path, server, client, kind)
    if seen is None:  # OpenSSL cannot load it, or the other end's OpenSSL hangs up
        return
    try:
        identity = judge_pem(pem(seen), world.trust, world.now)
    except CertificateError as error:
        assert re.search(bad.words, error.message)
    else:
        # What was wrong was the file, and what is shown of it is the right certificate.
        assert (seen, identity) == (world.der, world.who)


@needs_chains
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_chains_are_nobodys(worlds: dict[str, World], name: str) -> None:
    content = (BAD_CHAINS / name).read_bytes()
    world = worlds["server"]
    assert re.search(
        "certificates? instead of one|is larger than 64 KiB|carries a key that|was signed by", refused(content, world)
    )
    for found in x509.load_pem_x509_certificates(content):
        message = refused(certificate_pem(found), world)
        assert re.search(
            "carries a key that is |was signed by (itself|another authority)|is larger than 64 KiB", message
        )


@needs_chains
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_chains_are_in_no_kit(worlds: dict[str, World], tmp_path: Path, name: str) -> None:
    content = (BAD_CHAINS / name).read_bytes()
    world = worlds["server"]
    paths = lay_down(tmp_path, world, content)
    with pytest.raises(ProvisioningError) as caught:
        check_kit(paths.key.parent, world.who, world.now, world.trust.anchors)
    assert_is_one_sentence(caught.value.message)
    words = "certificates instead of one|is larger than 64 KiB|does not belong to the key|carries a key|was signed by"
    assert re.search(words, caught.value.message)


@pytest.mark.parametrize("kind", NAMES)
def test_the_right_one_is_accepted_everywhere(worlds: dict[str, World], tmp_path: Path, kind: str) -> None:
    world = worlds[kind]
    first, last = world.good.not_valid_before_utc, world.good.not_valid_after_utc
    for moment in (first, world.now, last):
        assert judge_pem(world.pem, world.trust, moment) == world.who
    # Line ends as they come by mail from elsewhere.
    assert judge_pem(world.pem.replace(b"\n", b"\r\n") + b"\r\n\r\n", world.trust, world.now) == world.who
    paths = lay_down(tmp_path, world, b"")
    paths.certificate.write_bytes(world.pem)
    for moment in (first, world.now, last):
        check_kit(paths.key.parent, world.who, moment, world.trust.anchors)
    server, client = good_side(world, SERVER), good_side(world, SITE if kind == "server" else world.who.name)
    assert shake_hands(tmp_path, server, client, kind) == world.der


@pytest.mark.parametrize("kind", NAMES)
def test_one_that_was_superseded_counts_until_it_is_revoked(
    worlds: dict[str, World], tmp_path: Path, kind: str
) -> None:
    world = worlds[kind]
    later = make_leaf(world.who, world.other_key, world.root, world.root_key, world.now)
    pins = {**world.trust.pins, world.who.name: frozenset(map(fingerprint, (world.good, later)))}
    both = replace(world.trust, pins=pins)
    for each in (world.good, later):
        assert judge_pem(certificate_pem(each), both, world.now) == world.who
    gone = Anchors(both.anchors.roots, both.anchors.revoked | {(fingerprint(world.root), world.good.serial_number)})
    after = replace(both, anchors=gone)
    assert judge_pem(certificate_pem(later), after, world.now) == world.who
    assert refused(world.pem, replace(world, trust=after)).endswith("was revoked")


@pytest.mark.parametrize("kind", NAMES)
def test_both_generations_count_while_the_authority_hands_over(
    worlds: dict[str, World], tmp_path: Path, kind: str
) -> None:
    world = worlds[kind]
    following = make_root(world.other_key, world.now)
    renewed = {
        name: make_leaf(world.entry(name), world.leaf_key, following, world.other_key, world.now)
        for name in world.certificates
    }
    pins = {name: frozenset(map(fingerprint, (world.certificates[name], renewed[name]))) for name in renewed}
    trust = replace(world.trust, anchors=Anchors.of(following, world.root), pins=pins)
    roots = roots_pem(trust.anchors.roots)
    for number, mine in enumerate((world.good, renewed[world.who.name])):
        assert judge_pem(certificate_pem(mine), trust, world.now) == world.who
        paths = lay_down(tmp_path / str(number), replace(world, trust=trust), certificate_pem(mine))
        check_kit(paths.key.parent, world.who, world.now, trust.anchors)
        for theirs in (world.certificates, renewed):
            other = certificate_pem(theirs[SITE if kind == "server" else SERVER])
            own, peer = Side(certificate_pem(mine), world.leaf_key, roots), Side(other, world.leaf_key, roots)
            server, client = (own, peer) if kind == "server" else (peer, own)
            assert shake_hands(tmp_path, server, client, kind) == mine.public_bytes(Encoding.DER)


def test_the_outgoing_authority_may_end_before_it_is_dropped(worlds: dict[str, World], tmp_path: Path) -> None:
    world = worlds["site"]
    short = make_root(world.other_key, world.now, days=5)
    trust = replace(world.trust, anchors=Anchors.of(world.root, short))
    after = world.now + timedelta(days=6)
    assert judge_pem(world.pem, trust, after) == world.who
    paths = lay_down(tmp_path, replace(world, trust=trust), world.pem)
    check_kit(paths.key.parent, world.who, after, trust.anchors)


@pytest.mark.parametrize(("after", "words"), [(True, "expired on"), (False, "is not valid before")])
def test_an_authority_out_of_its_time_vouches_for_nobody(worlds: dict[str, World], after: bool, words: str) -> None:
    # The certificate itself would be in time: nobody but a thief of the key makes one that outlives its authority.
    world = worlds["site"]
    day = timedelta(days=1)
    moment = world.root.not_valid_after_utc + day if after else world.root.not_valid_before_utc - day
    draft = world.dated(world.root.not_valid_before_utc - 2 * day, world.root.not_valid_after_utc + 2 * day)
    message = refused(pem(draft.signed(world.root_key)), replace(world, now=moment))
    assert f"was signed by an authority that {words} " in message


def test_a_list_that_another_signed_is_no_revocation_list(worlds: dict[str, World]) -> None:
    world, other = worlds["site"], rechained(worlds["site"])
    signer = PrivateKey(world.root_key)
    swapped = replace(world.trust, crls=other.trust.crls)
    with pytest.raises(SignatureError, match="the revocation list is not signed by the authority"):
        read_roster(sign_roster(swapped, signer, world.root), (world.root,))


def test_a_roster_without_authorities_makes_nobody_of_anybody(worlds: dict[str, World]) -> None:
    world = worlds["site"]
    nobody = replace(world.trust, anchors=Anchors(()))
    assert "was signed by another authority" in refused(world.pem, replace(world, trust=nobody))
    assert "was not issued for that entry" in refused(world.pem, replace(world, trust=replace(world.trust, pins={})))


def test_a_server_may_have_renewed_since_the_roster_and_nobody_else_may(worlds: dict[str, World]) -> None:
    # Whoever was away meanwhile gets the newer roster from the very server that they would refuse otherwise.
    for kind, world in worlds.items():
        later = world.now + timedelta(minutes=10)
        renewed = make_leaf(world.who, world.leaf_key, world.root, world.root_key, later)
        content, away = certificate_pem(renewed), replace(world, now=later)
        if kind == "server":
            assert judge_pem(content, world.trust, later) == world.who
        else:
            assert "was not issued for that entry" in refused(content, away)
        # With a roster that was issued after it, everybody is in the list or nobody.
        issued = replace(world.trust, issued_at=later)
        assert "was not issued for that entry" in refused(content, replace(away, trust=issued))
        gone = Anchors(world.trust.anchors.roots, frozenset({(fingerprint(world.root), renewed.serial_number)}))
        assert "was revoked" in refused(content, replace(away, trust=replace(world.trust, anchors=gone)))


def test_the_reason_of_a_revocation_is_told(worlds: dict[str, World]) -> None:
    world = worlds["site"]
    day = f"{world.now:%Y-%m-%d %H:%M} UTC"
    said = {refused(each, world) for each in (world.revoked_pem, world.superseded_pem)}
    begin = f"the certificate of `{SITE}` was revoked on {day}"
    assert said == {f"{begin}: the laptop was stolen", f"{begin}: another key"}
