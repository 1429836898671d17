# SPDX-License-Identifier: Apache-2.0
"""The one answer that leaves a site without a line in its audit log: the sentence that the log cannot be written.

It is the same at every site, so its digest is known, and `cloister audit compare` can tell it from a message that a
site keeps out of its log.
"""

from __future__ import annotations

from cloister.flare.exchange import Refusal, digest_of

NOT_RECORDED = Refusal(
    denied=False,
    reason="the site's audit log cannot be written, so nothing leaves it; its administrator finds why in its log",
)

NOT_RECORDED_DIGEST = digest_of(NOT_RECORDED.model_dump_json().encode(), b"")
"""What identifies that answer, as `exchange.digest_of` does."""
