# SPDX-License-Identifier: Apache-2.0
"""Every codec, by the name that a job gives it."""

from __future__ import annotations

from collections.abc import Mapping

from cloister.jobs.compression import CodecName
from cloister.wire.bfloat16 import Bfloat16
from cloister.wire.codec import Codec
from cloister.wire.float16 import Float16
from cloister.wire.float32 import Float32
from cloister.wire.int4 import Int4
from cloister.wire.int8 import Int8

CODECS: Mapping[CodecName, Codec] = {
    "float32": Float32(),
    "bfloat16": Bfloat16(),
    "float16": Float16(),
    "int8": Int8(),
    "int4": Int4(),
}
