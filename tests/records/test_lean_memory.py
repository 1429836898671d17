# SPDX-License-Identifier: Apache-2.0
"""Which allocator Arrow uses while a view is written, and afterwards."""

from __future__ import annotations

import pyarrow as pa
import pytest

from cloister.records.lean_memory import lean_memory


@pytest.mark.skipif("jemalloc" not in pa.supported_memory_backends(), reason="this Arrow has no jemalloc")
def test_is_jemalloc_meanwhile_and_as_before_afterwards_whatever_happens() -> None:
    before = pa.default_memory_pool().backend_name

    def fail() -> None:
        with lean_memory():
            assert pa.default_memory_pool().backend_name == "jemalloc"
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert pa.default_memory_pool().backend_name == before


def test_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pa, "supported_memory_backends", lambda: ["system"])
    before = pa.default_memory_pool().backend_name
    with lean_memory():
        assert pa.default_memory_pool().backend_name == before
