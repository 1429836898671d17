# SPDX-License-Identifier: Apache-2.0
"""docs/compression.md: every form with its heading, what it takes and loses, and the bytes that travel."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest

from cloister.wire import CODECS, EncodedVector, Encoder, Schema
from cloister.wire.header import HEADER_BYTES, LENGTH
from tests.docs.pages import blocks, sections, text_of
from tests.wire.vectors import gaussian, schema_of

PAGE = text_of("docs/compression.md")
ROWS = {
    row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \| ([\d.]+) \| (\S+)[^|]*\| ([^|]+) \| ([\d,]+) \|", PAGE, re.M)
}
FORMAT = sections(PAGE, 2)["What travels, byte by byte"]
EXAMPLE = Schema((("weight", (2,)),))


def test_every_form_has_its_heading_and_its_row() -> None:
    assert list(sections(sections(PAGE, 2)["The forms"], 3)) == [f"`{name}`" for name in CODECS]
    assert list(ROWS) == list(CODECS)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_bytes_and_noise_are_as_the_table_says(codec) -> None:
    per_value, noise, _, whole = ROWS[codec.name]
    vector = gaussian(294_912)
    encoded = Encoder(codec, error_feedback=False).encode(vector, schema_of(vector.size), 1)
    # Another version of zstd may find a few bytes more or less.
    assert len(encoded.content) == pytest.approx(int(whole.replace(",", "")), rel=2e-3)
    assert float(per_value) == pytest.approx(len(encoded.content) / vector.size, abs=0.006)
    error = np.square(encoded.values.astype(np.float64) - vector).mean()
    if noise == "exact":
        assert error == 0
    else:
        assert round(10 * np.log10(np.square(vector).mean() / error)) == int(noise)


@pytest.mark.parametrize(("name", "share"), [("int8", 1 / 119), ("int4", 2 / 13)])
def test_errors_are_as_the_table_says(name: str, share: float) -> None:
    vector = gaussian(256 * 1000)
    bound = CODECS[name].error_bound(vector)[::256]
    assert (bound <= share * np.abs(vector.reshape(-1, 256)).max(axis=1)).all()
    assert f"{ROWS[name][2]}".startswith({"int8": "1/119 of", "int4": "2/13 of"}[name])


def test_numbers_of_forms_are_as_the_page_says() -> None:
    (line,) = re.findall(r"form of the values: (.*) \|", FORMAT)
    assert dict(re.findall(r"(\d) `(\w+)`", line)) == {str(codec.number): name for name, codec in CODECS.items()}


def test_lengths_are_as_the_page_says() -> None:
    rows = re.findall(r"^\| (\d+)(?:, for each block)? \| ", FORMAT, re.M)
    assert sum(int(row) for row in rows) == HEADER_BYTES + LENGTH.size
    assert f"takes {HEADER_BYTES + LENGTH.size} bytes besides its piece" in FORMAT


def test_the_digest_is_of_the_page_s_words() -> None:
    (words,) = (block.text for block in blocks(FORMAT) if block.language == "json")
    assert hashlib.sha256(words.strip().encode()).digest()[:16] == EXAMPLE.digest


def test_the_example_can_be_read() -> None:
    (text,) = (block.text for block in blocks(FORMAT) if block.language == "text")
    read = EncodedVector.open(bytes.fromhex(text), CODECS["int4"], EXAMPLE)
    assert read.block(0).tolist() == [7 * 0.1484375, -3 * 0.1484375]
    written = Encoder(CODECS["int4"], error_feedback=False).encode(np.array([1, -0.5], np.float32), EXAMPLE, 1)
    assert written.content == bytes.fromhex(text)
