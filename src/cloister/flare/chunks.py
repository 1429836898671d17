# SPDX-License-Identifier: Apache-2.0
"""What is too large for a message: whoever has it names it by its digest, and whoever is to have it fetches the pieces.

Where there is a line between them beside NVFlare's messages, the pieces come in a stream (`cloister.flare.site_line`,
`cloister.flare.server_line`). What does not come so is asked for piece by piece. Whoever has it answers by
`cloister.flare.holder`, whoever is to have it asks by `cloister.flare.fetch`; here is what both know.
"""

from __future__ import annotations

import hashlib

from pydantic import Field

from cloister.documents import Model
from cloister.flare.server_line import ServerLine
from cloister.flare.site_line import SiteLine
from cloister.names import Sha256

MAXIMUM_CHUNK_BYTES = 2 << 20
"""Of one piece."""

Line = ServerLine | SiteLine
"""By which something comes and goes in a stream. What `lands` gives is each piece, once it was added to the file, from
the beginning and without a gap; none where there is no such way. Once it ends, nothing else adds to the file."""


class ChunkHead(Model):
    """Asks for one piece.

    Attributes:
        digest: of the whole, as its reference says.
        offset: where the piece begins.
        bytes: how long it is.
    """

    digest: Sha256
    offset: int = Field(ge=0)
    bytes: int = Field(ge=1, le=MAXIMUM_CHUNK_BYTES)


def begin_digest(message: bytes) -> hashlib._Hash:
    """The digest of `cloister.flare.exchange.digest_of`, up to where the payload begins."""
    return hashlib.sha256(len(message).to_bytes(8, "little") + message)
