# SPDX-License-Identifier: Apache-2.0
"""The gate for free text: what is found, what is left, what stands in its place, and that it fails closed."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import RecordsError
from cloister.records.free_text.deidentify import Deidentifier, all_rules
from cloister.records.free_text.identifying_patterns import Rule
from cloister.records.free_text.identifying_pieces import Finding
from tests.docs.pages import text_of
from tests.labelled_sentences import measure, read_sentences

GATE = Deidentifier()

FOUND = [
    # Made-up numbers that fit their checks, or ones that their issuers print in examples.
    ("CREDIT_CARD", "card [4111 1111 1111 1111] was charged"),
    ("NUMBER", "card [4111 1111 1111 1112] was not, and its digits do not sum up"),
    ("IBAN_CODE", "from [GB82 WEST 1234 5698 7654 32] to us"),
    ("IBAN_CODE", "from [gb82west12345698765432] to us"),
    ("US_SSN", "her number is [536-22-8726] she says"),
    ("EMAIL_ADDRESS", "write to [jane.o'hara+ward@mail.clinic.example] at once"),
    ("EMAIL_ADDRESS", "write to [jane@ward.local]."),
    ("URL", "see [https://portal.example/records?id=7] for more"),
    ("URL", "see [www.clinic.org/jane]."),
    ("URL", "his page is [janedoe.com]."),
    ("IP_ADDRESS", "from [192.168.14.7] last night"),
    ("IP_ADDRESS", "from [2001:db8::ff00:42:8329] last night"),
    ("MAC_ADDRESS", "device [00:1B:44:11:3A:B7] answered"),
    ("UUID", "row [3f2b8c1e-7a4d-4e21-9c55-0d1f2a3b4c5d] of it"),
    ("UK_NHS", "under [943 476 5919] in Leeds"),
    ("UK_NINO", "under [AB 12 34 56 C] in Leeds"),
    ("UK_POSTCODE", "her postcode was [LS1 4AP] then"),
    ("CA_POSTAL_CODE", "lives at [K1A 0B1] now"),
    ("MEDICAL_LICENSE", "signed [BB1388568] below"),
    ("PHONE_NUMBER", "ring [+44 20 7946 0958] first"),
    ("PHONE_NUMBER", "ring [(202) 456-1111] first"),
    ("PHONE_NUMBER", "Tel: [99 45 67]"),
    ("NUMBER", "her number [0048123456] again"),
    ("NUMBER", "sample [AB1234567] again"),
    ("RECORD_NUMBER", "MRN: [0048-12] was admitted"),
    ("RECORD_NUMBER", "Medical record number [A4812] was admitted"),
    ("RECORD_NUMBER", "policy no. [77-120-A] lapsed"),
    ("RECORD_NUMBER", "his driver's license number is [2270-661]"),
    ("DATE_TIME", "seen on [03/14/2019], well"),
    ("DATE_TIME", "seen on [14.3.2019], well"),
    ("DATE_TIME", "seen at [2019-03-14 09:30:00], well"),
    ("DATE_TIME", "seen at [2019-03-14T09:30:00Z], well"),
    ("DATE_TIME", "seen on [14 March 2019], well"),
    ("DATE_TIME", "seen on [March 14th, 2019], well"),
    ("DATE_TIME", "seen on [March 14], well"),
    ("DATE_TIME", "seen on the [14th of march], well"),
    ("DATE_TIME", "seen in [March 2019], well"),
    ("ZIP_CODE", "zip code is [02139] now"),
    ("ZIP_CODE", "Cambridge, MA [02139-4307]"),
    ("STREET_ADDRESS", "lives at [12 Old Mill Road] still"),
    ("STREET_ADDRESS", "lives at [Apt. 14] still"),
    ("AGE_OVER_89", "this [93]-year-old man"),
    ("AGE_OVER_89", "died aged [101]."),
    ("PERSON", "referred by Dr. [Anna Müller-Lüdenscheidt] today"),
    ("PERSON", "Mrs [O'Hara] came back"),
    ("PERSON", "Patient name: [Jane Q. Public]"),
    ("PERSON", "my name is [Ludwig van Beethoven]."),
]

LEFT = [
    "",
    "BP 120/80, pulse 72, temp 36.6, SpO2 98%, weight 81.5 kg, 1 of 4 sutures removed",
    "a relative risk of 1.71 (0.69-4.27), P < 0.0001, 95% CI 1.20 to 3.45",
    "between 1984 and 1989, or 1979-1989, in 1986 patients aged 45 to 89 years",
    "platelets 250 000, leucocytes 11,400/mm3, range 1500-5320 g, 1,234,567.89 cells",
    "5/14 patients and 7/10 controls, 2 pg.ml and 50 mg.kg, i.e. all, e.g.some",
    "HLA-B27, CD4+, interleukin-6, p53, SQ29548, T4N1M0, grade IIIb, L4-L5, C7",
    "MR Imaging at 190 ms. Thus the Doctor. It was so. 24,000 Mr. In contrast, none",
    "Doctor: Good morning.\nPatient: Hello, I may 12 hours later march on, may 5 of us do?",
    "recall@10 was better; $12,345.00 spent; version 3.11.4; ratio 1:2:3",
    "12:30 on Monday, three weeks later, at age 91 weeks",
]


@pytest.mark.parametrize(("entity", "marked"), FOUND, ids=[f"{entity} {text}"[:50] for entity, text in FOUND])
def test_a_piece_is_found_and_called_by_its_kind(entity: str, marked: str) -> None:
    before, piece, after = regex.fullmatch(r"(.*)\[(.*)\](.*)", marked).groups()
    assert GATE.find(before + piece + after) == (Finding(len(before), len(before + piece), entity),)
    assert GATE.masked(before + piece + after) == (f"{before}[{entity}]{after}", Counter({entity: 1}))


@pytest.mark.parametrize("text", LEFT)
def test_what_names_nobody_is_left(text: str) -> None:
    assert GATE.masked(text) == (text, Counter())


@pytest.mark.parametrize(
    "written",
    [
        "943\u00a0476\u00a05919",  # non-breaking spaces
        "943\u2011476\u20135919",  # a non-breaking hyphen, a dash
        "９４３ ４７６ ５９１９",
        "٩٤٣ ٤٧٦ ٥٩١٩",
        "94\u200b3 47\u00ad6 59\u206019",  # characters that nobody sees
        "94\u034f3 47\ufe0f6 5919",  # marks that join the digit before them, and change nothing of it
        "9\ufe0f\u20e34\ufe0f\u20e33 476 5919",  # digits in keycaps, as telephones write them
    ],
)
def test_a_number_is_found_however_it_is_set(written: str) -> None:
    text = f"naïve \u200d— {written} \u200d— après"
    assert GATE.masked(text) == ("naïve \u200d— [UK_NHS] \u200d— après", Counter(UK_NHS=1))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Dr. Mu\u0308ller-Lu\u0308denscheid saw her", "Dr. [PERSON] saw her"),
        ("Patient name: Jose\u0301 Garci\u0301a", "Patient name: [PERSON]"),
        ("born 03\u204412\u20441954 there", "born [DATE_TIME] there"),
    ],
)
def test_a_name_is_masked_whole_where_accents_stand_by_themselves(text: str, masked: str) -> None:
    assert GATE.masked(text)[0] == masked


def test_a_weak_pattern_needs_a_word_before_it() -> None:
    assert not GATE.find("we saw LS1 4AP there")
    assert not GATE.find("a postcode is what one writes on every letter, unlike LS1 4AP")
    assert GATE.find("the postcode of it was LS1 4AP") == (Finding(23, 30, "UK_POSTCODE"),)


def _rule(entity: str, pattern: str, score: float) -> Rule:
    return Rule(entity, regex.compile(pattern), lambda _: score, needs=frozenset("abcd"))


def test_of_pieces_that_overlap_nothing_is_left_and_the_surest_names_them() -> None:
    gate = Deidentifier([_rule("ONE", "abc", 0.5), _rule("TWO", "cd+", 0.9), _rule("THREE", "xa", 0.4)])
    assert gate.masked("-xabcddd-abc-") == ("-[TWO]-[ONE]-", Counter(ONE=1, TWO=1))
    longest = Deidentifier([_rule("ONE", "abc", 0.5), _rule("TWO", "cd+", 0.5)])
    assert longest.masked("-abcddd-")[0] == "-[TWO]-"
    assert Deidentifier([_rule("ONE", "abc", 0.5)], threshold=0.6).masked("abc") == ("abc", Counter())


def test_pieces_side_by_side_stay_two() -> None:
    gate = Deidentifier([_rule("ONE", "ab", 0.5), _rule("TWO", "cd", 0.5)])
    assert gate.masked("abcd") == ("[ONE][TWO]", Counter(ONE=1, TWO=1))


SECRET = "jane@clinic.example"


def _raises(_: str) -> float:
    raise ValueError(f"cannot judge {SECRET}")


def test_a_rule_that_errs_refuses_and_says_nothing_of_the_text() -> None:
    gate = Deidentifier([*all_rules(), Rule("X", regex.compile("@"), _raises, needs=frozenset("@"))])
    assert gate.masked("no address") == ("no address", Counter())
    for refused in (
        lambda: gate.find(SECRET),
        lambda: gate.masked(SECRET),
        lambda: gate.mask_array(pa.array([None, "fine", SECRET])),
        lambda: gate.found_in(pa.array([SECRET])),
        lambda: gate.masked_conversation(json.dumps([{"role": "user", "content": SECRET}])),
        lambda: gate.masked_with_spans(SECRET, "[]"),
        lambda: gate.mask_spanned_array(pa.array([SECRET]), pa.array(["[]"])),
    ):
        with pytest.raises(RecordsError, match=r"a text of 19 characters cannot be .*: a rule failed") as caught:
            refused()
        assert "jane" not in str(caught.value)
        assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_pattern_that_takes_too_long_refuses() -> None:
    """Presidio's own loop logs it and goes on, as if nothing had been found."""
    endless = Rule("X", regex.compile(r"(a|aa)+$"), lambda _: 1.0, needs=frozenset("a"))
    began = time.process_time()
    with pytest.raises(
        RecordsError, match=r"it took more than 0\.2 s of processor time \(lower the column's `maximum_characters`\)"
    ):
        Deidentifier([endless], seconds=0.2).find("a" * 200 + "b")
    assert time.process_time() - began < 5


def test_time_that_is_over_before_a_rule_begins_refuses() -> None:
    with pytest.raises(RecordsError, match="it took more than 0 s"):
        Deidentifier(seconds=0).find("12")


LONG = 200_000  # characters: the most that a column may declare
UNITS = ("a", "a.", "1", "1.", "1-", "1 ", "1/", "+1", "a!", "A1B2", "ff:", "patient case ", "A. ", "Dr. ", "mobile ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unit", "end"),
    [*((unit, "") for unit in UNITS), ("a.", "@"), ("1.", "@"), ("a!", "@"), ("a.", ".com"), ("a", ".com")],
)
def test_the_longest_text_is_searched_in_time_whatever_it_holds(unit: str, end: str) -> None:
    GATE.find(unit * (LONG // len(unit)) + end)


@pytest.mark.slow
def test_a_long_note_takes_as_long_as_its_length_lets_expect() -> None:
    note = "On admission the 45 year old had BP 120/80, see Dr. Smith of ward 7a or https://clinic.org/a. "
    GATE.find(note)
    seconds = []
    for times in (20, 200):
        began = time.process_time()
        GATE.find(note * times)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 30 * seconds[0]


@given(st.text(st.characters(), max_size=80) | st.text("0123456789 -./:@+()#aA\u200b\u0661éſK²Ⅷ", max_size=60))
def test_any_text_gets_ordered_findings_within_it(text: str) -> None:
    findings = GATE.find(text)
    ends = [0, *(place for each in findings for place in (each.start, each.end)), len(text)]
    assert ends == sorted(ends)
    assert all(each.start < each.end for each in findings)
    masked, counts = GATE.masked(text)
    assert counts.total() == len(findings)
    assert (masked == text) is (not findings)


NAUGHTY = [
    "\x00\x01\x02\x7f", "\ud800 lone", "\U0010ffff\ufffe\uffff", "Z\u0351\u036b\u0343A\u0335L\u0320G\u033bO\u0335!" * 9,
    "\u202elive\u202c", "田中さんにあげて下さい", "\U0001f469\u200d\u2695\ufe0f", "\ufdfa" * 50,
    "<script>alert(1)</script>", "'; DROP TABLE notes;--", "%s%n%x", "NaN", "[EMAIL_ADDRESS]", "`$(x)`", "\\0\\u0000",
]  # fmt: skip


@pytest.mark.parametrize("text", NAUGHTY)
def test_naughty_texts_pass_as_they_are(text: str) -> None:
    assert GATE.masked(text) == (text, Counter())


# Columns


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_column_keeps_its_type_its_nulls_and_its_order(kind: pa.DataType) -> None:
    texts = pa.array(["a@b.example and c@d.example", None, "", "fine", "MRN: 4711"], kind)
    masked, counts, cells = GATE.mask_array(texts)
    assert masked.type == kind
    assert masked.to_pylist() == ["[EMAIL_ADDRESS] and [EMAIL_ADDRESS]", None, "", "fine", "MRN: [RECORD_NUMBER]"]
    assert (counts, cells) == (Counter(EMAIL_ADDRESS=2, RECORD_NUMBER=1), 2)
    assert GATE.found_in(texts) == (counts, cells)


def test_an_empty_column_and_a_slice_of_one() -> None:
    masked, counts, cells = GATE.mask_array(pa.array([], pa.string()))
    assert (len(masked), masked.type, counts, cells) == (0, pa.string(), Counter(), 0)
    masked, _, cells = GATE.mask_array(pa.array(["a@b.example", "fine", "c@d.example"]).slice(1))
    assert (masked.to_pylist(), cells) == (["fine", "[EMAIL_ADDRESS]"], 1)


# Conversations


def test_every_text_of_a_conversation_is_masked() -> None:
    answer = {"content": [{"type": "text", "text": "ring 0048123456"}], "id": 4711004711, "a@b.example": None}
    cell = json.dumps([{"role": "user", "content": "I am a@b.example"}, answer])
    masked, counts = GATE.masked_conversation(cell)
    assert json.loads(masked) == [
        {"role": "user", "content": "I am [EMAIL_ADDRESS]"},
        {"content": [{"type": "text", "text": "ring [NUMBER]"}], "id": "[NUMBER]", "[EMAIL_ADDRESS]": None},
    ]
    assert counts == Counter(EMAIL_ADDRESS=2, NUMBER=2)
    array, found, cells = GATE.mask_array(pa.array([cell, None, "[]"]), messages=True)
    assert (array.to_pylist(), found, cells) == ([masked, None, "[]"], counts, 1)
    assert GATE.found_in(pa.array([cell, None, "[]"]), messages=True) == (counts, 1)


@pytest.mark.parametrize(
    "cell",
    [
        r'[{"role": "user", "content": "a\u0040b.example"}]',
        '[{"role": "user", "content": "a@b.example", "content": "fine"}]',
        '[{"role": "user", "content": "fine"}] a@b.example',
        '{"content": "a@b.example"}',
        '"a@b.example"',
        "user: a@b.example",
    ],
)
def test_no_way_to_write_a_conversation_carries_an_address_through(cell: str) -> None:
    masked, _ = GATE.masked_conversation(cell)
    assert "b.example" not in masked
    assert not GATE.find(masked)


def test_values_that_are_no_texts_stay() -> None:
    cell = '[{"role": "user", "content": "fine", "n": 1.5, "b": true, "z": null}]'
    assert json.loads(GATE.masked_conversation(cell)[0]) == json.loads(cell)


@pytest.mark.parametrize("levels", [700, 5_000, 100_000])  # the first can be read, and not gone through
def test_a_conversation_nested_too_deeply_is_refused(levels: int) -> None:
    with pytest.raises(RecordsError, match="nested too deeply"):
        GATE.masked_conversation("[" * levels + "]" * levels)


# Spans


def _spans(*spans: tuple[int, int, str]) -> str:
    return json.dumps([{"start": start, "end": end, "label": label} for start, end, label in spans])


def test_spans_move_with_their_text() -> None:
    text = "a@b.example took aspirin on 3/14/2019 and aspirin"
    spans = _spans((17, 24, "drug"), (42, 49, "drug"))
    masked, moved, counts = GATE.masked_with_spans(text, spans)
    assert masked == "[EMAIL_ADDRESS] took aspirin on [DATE_TIME] and aspirin"
    assert [masked[each["start"] : each["end"]] for each in json.loads(moved)] == ["aspirin", "aspirin"]
    assert counts == Counter(EMAIL_ADDRESS=1, DATE_TIME=1)


@pytest.mark.parametrize(
    ("start", "end", "left"),
    [
        (5, 16, "[EMAIL_ADDRESS]"),  # just what is masked
        (0, 20, "mail [EMAIL_ADDRESS] now"),  # with more around it
        (16, 20, " now"),  # beside it
        (0, 5, "mail "),
        (5, 10, None),  # a part of it
        (0, 6, None),  # reaching into it
        (15, 20, None),
        (16, 21, None),  # beyond the text
    ],
)
def test_a_span_that_a_mask_reaches_into_is_dropped(start: int, end: int, left: str | None) -> None:
    masked, moved, _ = GATE.masked_with_spans("mail a@b.example now", _spans((start, end, "x")))
    kept = [masked[each["start"] : each["end"]] for each in json.loads(moved)]
    assert kept == ([] if left is None else [left])


def test_nothing_but_places_and_labels_of_spans_is_kept_and_no_label_names_anybody() -> None:
    spans = '[{"start": 0, "end": 1, "label": "x", "text": "Jane"}, {"start": 0, "end": 1, "label": "a@b.example"}]'
    assert GATE.masked_with_spans("fine", spans)[1] == _spans((0, 1, "x"))


@pytest.mark.parametrize(
    "spans",
    ["", "Jane", "{}", "[1]", '[{"start": 0, "end": 2}]', _spans((2, 2, "x")), _spans((-1, 2, "x")), "[" * 100_000,
     '[{"start": true, "end": 2, "label": "x"}]', '[{"start": 0.0, "end": 2, "label": "x"}]',
     '[{"start": 0, "end": 2, "label": 7}]'],
)  # fmt: skip
def test_spans_that_are_none_are_refused(spans: str) -> None:
    with pytest.raises(RecordsError, match="a cell of spans is no list of objects") as caught:
        GATE.masked_with_spans("fine", spans)
    assert "Jane" not in str(caught.value)


def test_columns_of_texts_and_spans() -> None:
    texts = pa.array(["a@b.example, aspirin", None, "aspirin"])
    spans = pa.array([_spans((13, 20, "drug")), "[]", None])
    masked, moved, counts, cells = GATE.mask_spanned_array(texts, spans)
    # Where there are no spans to be moved with it, a text is masked all the same.
    assert masked.to_pylist() == ["[EMAIL_ADDRESS], aspirin", None, "aspirin"]
    assert moved.to_pylist() == [_spans((17, 24, "drug")), None, None]
    assert (counts, cells) == (Counter(EMAIL_ADDRESS=1), 1)
    alone, none, counts, cells = GATE.mask_spanned_array(pa.array(["a@b.example"]), pa.array([None], pa.string()))
    assert (alone.to_pylist(), none.to_pylist(), cells) == (["[EMAIL_ADDRESS]"], [None], 1)


@given(st.data())
def test_a_span_without_a_mask_marks_the_same_words_afterwards(data: st.DataObject) -> None:
    words = data.draw(
        st.lists(st.sampled_from(["aspirin", "a@b.example", "on 3/14/2019", "MRN: 4711", "é", "\u200b"]), min_size=1)
    )
    text = " ".join(words)
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    masked, moved, _ = GATE.masked_with_spans(text, _spans((start, end, "x")))
    touched = [each for each in GATE.find(text) if each.start < end and start < each.end]
    kept = [masked[each["start"] : each["end"]] for each in json.loads(moved)]
    if not touched:
        assert kept == [text[start:end]]
    elif all(start <= each.start and each.end <= end for each in touched):
        assert kept == [GATE.masked(text[start:end])[0]] or kept[0].count("[") == len(touched)
    else:
        assert kept == []


# Around it

ALONE = """
import socket, sys
def refuse(*_, **__): raise OSError("no network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from cloister.records.free_text.deidentify import Deidentifier
gate = Deidentifier()
print(gate.masked("a@b.example, www.clinic.org, +44 20 7946 0958")[0])
print([name for name in ("torch", "transformers") if name in sys.modules])
import torch
print(torch.__name__)
"""


@pytest.mark.slow
def test_nothing_is_fetched_or_written_and_torch_is_not_loaded(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", ALONE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.splitlines() == ["[EMAIL_ADDRESS], [URL], [PHONE_NUMBER]", "[]", "torch"], done.stderr
    assert not list(tmp_path.rglob("*"))


def test_no_text_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for _, text in FOUND:
        GATE.find(text)
    assert not caplog.records


@pytest.mark.slow
def test_the_documentation_states_what_is_measured() -> None:
    """Recall and precision by kind, on the half of the sentences that the patterns were not tuned on."""
    measured = measure(GATE.find, read_sentences(tuned_on=False))
    text = text_of("docs/records.md")
    for row in (*measured.recall_table(), *measured.precision_table()):
        assert row in text
    not_found = {kind for kind in measured.marked if not measured.partly[kind]}
    assert not_found
    promise = text.split("Not found at all")[1].split("\n\n")[0]
    assert all(f"`{kind}`" in promise for kind in not_found)
