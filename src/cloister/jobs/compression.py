# SPDX-License-Identifier: Apache-2.0
"""How few bytes an update and the weights that come back take: what a job says under `compression`."""

from __future__ import annotations

from typing import Literal

from cloister.documents import Model

CodecName = Literal["float32", "bfloat16", "float16", "int8", "int4"]
"""In what form values travel; `cloister.wire` has one file for each."""


class Compression(Model):
    """The whole section; without it values travel as they are.

    Attributes:
        up: from a site to the server.
        down: from the server to the sites.
        error_feedback: whether what rounding took from one round's values is added to the next round's
            (https://arxiv.org/abs/1809.07599); both ways.
    """

    up: CodecName = "float32"
    down: CodecName = "float32"
    error_feedback: bool = True
