# SPDX-License-Identifier: Apache-2.0
"""Takes the rows of a COPY off a connection, so many at a time that they are worth the while.

psycopg gives them one by one (https://www.psycopg.org/psycopg3/docs/basic/copy.html), which costs more than all that is
done with them afterwards. So its way is taken to begin, to wait and to end, and rows that have come already are taken
from libpq, whose `PQgetCopyData` gives one row each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg

from cloister.records.sql.postgresql_binary import END, ODD, without_header
from cloister.records.sql.silence import SilenceWatch


@dataclass
class Block:
    """Rows in the binary copy format.

    Attributes:
        content: one after the other.
        sizes: bytes of each.
    """

    content: bytearray = field(default_factory=bytearray)
    sizes: list[int] = field(default_factory=list)


def copied(
    driver: psycopg.Connection[Any], statement: bytes, watch: SilenceWatch, *, rows: int, size: int
) -> Iterator[Block]:
    """The rows that ``statement``, a COPY to here in binary, gives.

    Args:
        driver: the connection.
        statement: of which no part is anybody's but ours.
        watch: is told when the server speaks, and when nobody waits for it.
        rows: the most in a block.
        size: bytes after which a block is given.

    Raises:
        ValueError: where what comes is no copy in binary.
        psycopg.Error: where the server refuses, or breaks off.
    """
    with watch.waiting(), driver.cursor() as cursor, cursor.copy(statement) as copy:
        take = driver.pgconn.get_copy_data
        block = Block()
        piece: Any = without_header(bytes(copy.read()))
        length = len(piece)
        while length != len(END) or piece != END:
            if length > 0:
                block.content += piece
                block.sizes.append(length)
                if len(block.sizes) == rows or len(block.content) >= size:
                    with watch.paused():
                        yield block
                    block = Block()
            length, piece = take(1)
            if length == 0:  # nothing has come yet
                watch.heard()
                piece = copy.read()
                length = len(piece)
                if not length:
                    raise ValueError(ODD)
            elif length < 0:
                raise _refusal(driver)
        if copy.read():
            raise ValueError(ODD)
        if block.sizes:
            with watch.paused():
                yield block


def _refusal(driver: psycopg.Connection[Any]) -> Exception:
    """What the server said instead of another row."""
    result = driver.pgconn.get_result()
    said = result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) if result else None
    error = psycopg.OperationalError()  # without the server's words, which may quote a record
    error.sqlstate = said.decode() if said else None
    return error
