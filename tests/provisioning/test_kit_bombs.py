# SPDX-License-Identifier: Apache-2.0
"""A kit is a stranger's file until its signature was looked at, and unpacking comes before."""

from __future__ import annotations

import zipfile

import pytest

from cloister.errors import ProvisioningError
from cloister.provisioning.kit_archive import MANIFEST, fingerprint_in, read_archive
from tests.zip_bombs import bomb, peak_of


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_kit_that_inflates_without_end_takes_no_memory(method: int) -> None:
    content = bomb(MANIFEST, method)

    def read() -> None:
        for act in (lambda: read_archive(content, "0" * 64), lambda: fingerprint_in(content)):
            with pytest.raises(ProvisioningError, match="the kit holds a compressed file, and no kit does"):
                act()

    assert peak_of(read) < 4 << 20


def test_a_kit_whose_file_is_shorter_than_what_lies_there_is_none() -> None:
    content = bomb(MANIFEST, zipfile.ZIP_DEFLATED)
    stored = bytearray(content)
    at = stored.rindex(b"PK\x01\x02")
    stored[at + 10 : at + 12] = b"\0\0"
    with pytest.raises(ProvisioningError, match=r"compressed file|cannot be read"):
        read_archive(bytes(stored), "0" * 64)
