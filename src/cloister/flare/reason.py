# SPDX-License-Identifier: Apache-2.0
"""What a site tells the server of an error: the sentence, without the folders of the site's machine."""

from __future__ import annotations

import re

from cloister.errors import CloisterError

MAXIMUM_CHARACTERS = 2000

_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s`'\"/]+/)+")


def reason_of(error: CloisterError) -> str:
    """The error in words that may leave the site; of an absolute path only the last part."""
    return _FOLDERS.sub("…/", str(error))[:MAXIMUM_CHARACTERS]
