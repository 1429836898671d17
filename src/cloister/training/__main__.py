# SPDX-License-Identifier: Apache-2.0
"""The trainer as a program."""

from __future__ import annotations

import sys

from cloister.training.conversation import Pipe, converse


def main() -> int:
    """Serve one conversation over standard input and output; 0 where the job process ended it."""
    # Before the ML stack is imported, since whatever it prints would corrupt the protocol.
    return converse(Pipe.from_standard_streams())


if __name__ == "__main__":
    sys.exit(main())
