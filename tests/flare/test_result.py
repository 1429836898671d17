# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloister.errors import JobError, UsageError
from cloister.flare.result import check_place, read_result, take_over


def test_a_result_may_lie_where_nothing_or_a_result_lies(tmp_path: Path) -> None:
    check_place(tmp_path / "new" / "folder")
    check_place(tmp_path)
    (tmp_path / "result.json").write_text("{}")
    (tmp_path / "MODEL_CARD.md").write_text("")
    check_place(tmp_path)


def test_nothing_else_is_replaced(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    with pytest.raises(UsageError, match="holds something else than a result"):
        check_place(tmp_path)
    with pytest.raises(UsageError, match="is not a folder"):
        check_place(thesis)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is not a folder"):
        check_place(tmp_path / "link")


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"5", b'{"job_id": "an-id"}', b"[" * 100_000])
def test_what_is_no_result_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(JobError, match="the server sent a result that"):
        read_result(tmp_path / "result.json")


def test_the_adapter_must_be_the_one_that_the_result_names(tmp_path: Path) -> None:
    sent, staged = tmp_path / "sent", tmp_path / "staged"
    (sent / "adapter").mkdir(parents=True)
    (sent / "result.json").write_text(json.dumps({}))
    (sent / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(JobError, match="not complete"):
        take_over(sent, staged, "0" * 64)
    (sent / "adapter" / "adapter_model.safetensors").write_bytes(b"another")
    with pytest.raises(JobError, match="not the one its result names"):
        take_over(sent, staged, "0" * 64)
    assert not list(staged.rglob("*.*"))
