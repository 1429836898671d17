# SPDX-License-Identifier: Apache-2.0
"""What a site tells the server of an error: the sentence, without the folders of the site's machine."""

from __future__ import annotations

import re

from cloister.errors import CloisterError

MAXIMUM_CHARACTERS = 2000

# A folder's name may hold spaces. Between backticks the path ends with them; elsewhere rather a word too many is left
# out than one too few: up to the last slash before a quote, a bracket, a colon, a semicolon or the line's end.
_FOLDERS = re.compile(r"(?<=`)/[^`\n]*/|(?<![\w.`])/(?=\S)[^`'\"()\[\]:;\n]*/")


def reason_of(error: CloisterError) -> str:
    """The error in words that may leave the site; of an absolute path only the last part."""
    return _FOLDERS.sub("…/", str(error))[:MAXIMUM_CHARACTERS]
