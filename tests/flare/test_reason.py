# SPDX-License-Identifier: Apache-2.0
"""A site's reasons name no folder of its machine."""

from __future__ import annotations

import pytest

from cloister.errors import RecordsError
from cloister.flare.reason import MAXIMUM_CHARACTERS, reason_of


def test_absolute_paths_lose_their_folders():
    error = RecordsError("base model `/srv/models/private/bert` cannot be read", hint="see /var/lib/cloister/log.txt")
    assert reason_of(error) == "base model `…/bert` cannot be read (see …/log.txt)"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("`/srv/St. Mary's records/2026 notes/n.csv` is empty", "`…/n.csv` is empty"),
        ("`/srv/our models/bert` cannot be read", "`…/bert` cannot be read"),
        ("cannot open /srv/our models/private/bert: not there", "cannot open …/bert: not there"),
        ("'/srv/our models/x', then `/var/y/z`", "'…/x', then `…/z`"),
        ("see (/var/a b/c) and policies/alpha.yaml:3", "see (…/c) and policies/alpha.yaml:3"),
        ("/a b/c\n/d e/f", "…/c\n…/f"),
    ],
)
def test_a_folder_with_a_space_in_its_name_is_left_out_whole(said, told):
    assert reason_of(RecordsError(said)) == told


def test_documents_keep_their_place():
    text = "`purpose`: purpose `x` is not granted (policies/alpha.yaml:12; jobs/job.yaml:3)"
    assert reason_of(RecordsError(text)) == text


def test_long_reasons_are_cut():
    assert len(reason_of(RecordsError("x" * 10_000))) == MAXIMUM_CHARACTERS
