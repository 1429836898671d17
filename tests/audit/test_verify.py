# SPDX-License-Identifier: Apache-2.0
import json
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.audit import Kind, LastCheckpoint, Notary, verify
from cloister.audit.checkpoint import facts_of_checkpoint
from cloister.audit.event import FIRST, Entry, Event, read_line
from cloister.audit.verify import Fault
from cloister.files import canonical_json, sha256_of
from tests.audit.world import CERTIFICATE, DIGEST, KEY, NOW, OTHER_KEY, SITE, Key, certificate, log_in, write_some


def written() -> list[bytes]:
    """Nine entries, checkpoints at 4 and 8, and one entry after the last."""
    with TemporaryDirectory() as name:
        log = log_in(Path(name) / "audit")
        write_some(log, 3)
        log.checkpoint()
        write_some(log, 3)
        log.checkpoint()
        write_some(log, 1)
        return log.path.read_bytes().splitlines(keepends=True)


LINES = written()
COVERED = 7  # the last checkpoint, entry 8, covers so many


def fault(lines, **others):
    broken = verify(lines, CERTIFICATE, **others).broken
    return (broken.line, broken.fault) if broken else None


def rehashed(line: bytes, **changes) -> bytes:
    """``line`` with other parts and the hash that then belongs to it."""
    value = json.loads(line) | changes
    value.pop("hash")
    return canonical_json(value | {"hash": sha256_of(canonical_json(value))}) + b"\n"


def rechained(lines: list[bytes], begin: int) -> list[bytes]:
    """``lines`` whose chain was made anew from the 0-based ``begin`` on, as a forger without the key would."""
    result = lines[:begin]
    for number, line in enumerate(lines[begin:], begin + 1):
        previous = json.loads(result[-1])["hash"] if result else FIRST
        result.append(rehashed(line, previous=previous, sequence=number))
    return result


def test_what_was_written_is_in_order():
    report = verify(LINES, CERTIFICATE)
    assert (report.participant, report.entries, report.covered, report.checkpoints) == (SITE, 9, COVERED, 2)
    assert (report.broken, report.uncovered) == (None, 1)
    assert report.head == json.loads(LINES[-1])["hash"]


def test_an_emptied_log_is_not_what_was_written():
    report = verify([], CERTIFICATE)
    assert (report.participant, report.entries, report.covered, report.uncovered, report.head) == (SITE, 0, 0, 0, FIRST)
    assert report.broken
    assert (report.broken.line, report.broken.fault) == (0, Fault.EMPTY)


def test_a_log_without_checkpoints_is_vouched_for_by_nobody():
    for end in range(1, 4):
        report = verify(LINES[:end], CERTIFICATE)
        assert (report.entries, report.covered, report.uncovered) == (end, 0, end)
        assert report.broken
        assert (report.broken.line, report.broken.fault) == (0, Fault.UNSIGNED)


@given(st.data())
def test_an_edited_byte_is_found_where_it_is(data):
    number = data.draw(st.integers(0, len(LINES) - 1))
    index = data.draw(st.integers(0, len(LINES[number]) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != LINES[number][index] and byte != ord("\n")))
    line = LINES[number][:index] + bytes([byte]) + LINES[number][index + 1 :]
    assert fault([*LINES[:number], line, *LINES[number + 1 :]]) == (number + 1, Fault.EDITED)


@given(st.data())
def test_removed_entries_are_found_where_they_were(data):
    begin = data.draw(st.integers(0, len(LINES) - 2))
    end = data.draw(st.integers(begin + 1, len(LINES) - 1))
    assert fault(LINES[:begin] + LINES[end:]) == (begin + 1, Fault.REMOVED)


@given(st.data())
def test_an_inserted_copy_is_found(data):
    at = data.draw(st.integers(0, len(LINES)))
    what = data.draw(st.integers(0, len(LINES) - 1).filter(lambda what: what not in (at, at - 1)))
    found = fault([*LINES[:at], LINES[what], *LINES[at:]])
    assert found == (at + 1, Fault.INSERTED if what < at else Fault.REORDERED)


@given(st.data())
def test_two_swapped_entries_are_found(data):
    first = data.draw(st.integers(0, len(LINES) - 2))
    second = data.draw(st.integers(first + 1, len(LINES) - 1))
    swapped = list(LINES)
    swapped[first], swapped[second] = LINES[second], LINES[first]
    assert fault(swapped) == (first + 1, Fault.REORDERED)


@given(st.data())
def test_a_forger_who_makes_the_chain_anew_is_stopped_by_the_next_checkpoint(data):
    number = data.draw(st.integers(0, COVERED - 1).filter(lambda number: number != 3))
    act = data.draw(st.sampled_from(["edit", "remove", "insert"]))
    forged = list(LINES)
    if act == "edit":
        forged[number] = rehashed(LINES[number], facts={"digest": "cd" * 32})
    elif act == "remove":
        del forged[number]
    else:
        forged.insert(number, LINES[0])
    found = verify(rechained(forged, number), CERTIFICATE)
    assert found.broken is not None
    assert found.broken.fault is Fault.CHECKPOINT
    assert found.covered == (0 if number < 3 else 3)


def test_an_edit_with_a_hash_of_its_own_breaks_the_chain():
    forged = [rehashed(LINES[0], facts={"digest": "cd" * 32}), *LINES[1:]]
    assert fault(forged) == (2, Fault.REPLACED)


def test_a_cut_is_said_to_be_what_nobody_vouches_for():
    for end in range(4, len(LINES)):
        report = verify(LINES[:end], CERTIFICATE)
        assert report.broken is None
        assert report.covered == (3 if end < 8 else COVERED)


def remembered(number: int) -> LastCheckpoint:
    return LastCheckpoint(number, read_line(LINES[number - 1]).hash, sum(map(len, LINES[:number])))


def test_a_cut_before_the_checkpoint_that_is_remembered_is_found():
    for end in range(len(LINES) + 1):
        broken = verify(LINES[:end], CERTIFICATE, remembered=remembered(8)).broken
        assert (broken and (broken.line, broken.fault)) == (None if end >= 8 else (end + 1, Fault.CUT))


def test_another_entry_where_the_remembered_checkpoint_stood_is_found():
    with TemporaryDirectory() as name:
        log = log_in(Path(name) / "audit")
        write_some(log, 7)
        log.checkpoint()
        other = log.path.read_bytes().splitlines(keepends=True)
    assert verify(other, CERTIFICATE).broken is None
    broken = verify(other, CERTIFICATE, remembered=remembered(8)).broken
    assert broken
    assert (broken.line, broken.fault) == (8, Fault.REPLACED)


def test_a_memory_that_is_older_than_the_log_is_no_fault():
    for memory in (LastCheckpoint(), remembered(4)):
        assert verify(LINES, CERTIFICATE, remembered=memory).broken is None


def test_a_torn_tail_is_told_from_an_edit():
    assert fault([*LINES, LINES[0][:20]]) == (10, Fault.TORN)
    assert fault([*LINES, LINES[0][:20] + b"\n"]) == (10, Fault.EDITED)
    assert fault([*LINES[:4], LINES[4][:-1] + LINES[5], *LINES[6:]]) == (5, Fault.EDITED)


def test_an_entry_of_another_participant_is_found():
    assert fault([*LINES[:2], rehashed(LINES[2], participant="beta")]) == (3, Fault.FOREIGN)
    assert fault(LINES, participant="beta") == (1, Fault.FOREIGN)


def test_another_key_vouches_for_nothing():
    for other in (certificate(OTHER_KEY), certificate(OTHER_KEY, "beta")):
        broken = verify(LINES, other, participant=SITE).broken
        assert broken
        assert (broken.line, broken.fault) == (4, Fault.CHECKPOINT)
        assert "another key" in broken.message


def test_the_same_key_under_another_name_vouches_for_nothing():
    assert verify(LINES, certificate(KEY, "beta"), participant=SITE).broken


def test_a_renewed_certificate_has_the_same_key():
    assert verify(LINES, certificate(KEY, begin=NOW - timedelta(hours=1))).broken is None


def test_with_the_authority_an_earlier_key_counts():
    authority, new = Key(), Key()
    root = certificate(authority, "authority")
    old, renewed = certificate(KEY, issuer=authority), certificate(new, issuer=authority)
    with TemporaryDirectory() as name:
        log = log_in(Path(name) / "audit", notary=Notary(KEY, old))
        write_some(log, 1)
        log.checkpoint()
        log_in(log.folder, notary=Notary(new, renewed)).checkpoint()
        lines = log.path.read_bytes().splitlines(keepends=True)
    stranger = certificate(OTHER_KEY, "authority")
    assert verify(lines, renewed, [root]).broken is None
    assert verify(lines, renewed, [stranger, root]).broken is None
    assert verify(lines, renewed).broken is not None
    assert verify(lines, renewed, [stranger]).broken is not None


def checkpoint(**changes) -> list[bytes]:
    """Three entries, and a checkpoint of which something is not right."""
    last = read_line(LINES[2])
    notary = changes.pop("notary", Notary(KEY, CERTIFICATE))
    said = {"participant": SITE, "covers": 3, "head": last.hash, "time": NOW} | changes.pop("said", {})
    facts = facts_of_checkpoint(notary, **said) | changes.pop("facts", {})
    event = Event(4, changes.pop("time", NOW), SITE, Kind.CHECKPOINT, "", 0, facts)
    return [*LINES[:3], Entry(event, last.hash).line()]


def test_a_checkpoint_made_by_hand_is_good():
    assert verify(checkpoint(), CERTIFICATE).covered == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"said": {"participant": "beta"}},
        {"said": {"covers": 2}},
        {"said": {"head": DIGEST}},
        {"said": {"covers": 2}, "facts": {"covers": 3}},
        {"said": {"head": DIGEST}, "facts": {"head": read_line(LINES[2]).hash}},
        {"said": {"time": NOW + timedelta(seconds=1)}},
        {"facts": {"covers": 2}},
        {"facts": {"head": DIGEST}},
        {"facts": {"envelope": ""}},
        {"facts": {"envelope": "{}"}},
        {"facts": {"envelope": 7}},
        {"notary": Notary(OTHER_KEY, CERTIFICATE)},
        {"notary": Notary(OTHER_KEY, certificate(OTHER_KEY))},
        {"notary": Notary(KEY, certificate(KEY, begin=NOW + timedelta(days=1)))},
        {"notary": Notary(KEY, certificate(KEY, begin=NOW - timedelta(days=60)))},
    ],
)
def test_a_checkpoint_that_is_not_one_is_found(changes):
    assert fault(checkpoint(**changes)) == (4, Fault.CHECKPOINT)


def test_memory_does_not_grow_with_the_log():
    def endless():
        entry = Entry(Event(1, NOW, SITE, Kind.START, "", 0, {}), FIRST)
        for number in range(2, 2002):
            yield entry.line()
            entry = Entry(Event(number, NOW, SITE, Kind.START, "", 0, {}), entry.hash)

    assert verify(endless(), CERTIFICATE).entries == 2000
