# SPDX-License-Identifier: Apache-2.0
"""A site's reasons name no folder of its machine."""

from __future__ import annotations

from cloister.errors import RecordsError
from cloister.flare.reason import MAXIMUM_CHARACTERS, reason_of


def test_absolute_paths_lose_their_folders():
    error = RecordsError("base model `/srv/models/private/bert` cannot be read", hint="see /var/lib/cloister/log.txt")
    assert reason_of(error) == "base model `…/bert` cannot be read (see …/log.txt)"


def test_documents_keep_their_place():
    text = "`purpose`: purpose `x` is not granted (policies/alpha.yaml:12; jobs/job.yaml:3)"
    assert reason_of(RecordsError(text)) == text


def test_long_reasons_are_cut():
    assert len(reason_of(RecordsError("x" * 10_000))) == MAXIMUM_CHARACTERS
