# SPDX-License-Identifier: Apache-2.0
"""Frames between a job's process and its trainer, for tests whose blobs are short."""

from __future__ import annotations

from cloister.messages import Reply, Request, frame_head


def encode(message: Request | Reply, blob: bytes = b"") -> bytes:
    """One frame, whole."""
    return frame_head(message, len(blob)) + blob
