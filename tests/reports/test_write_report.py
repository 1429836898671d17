# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from cloister.reports import model_card, result_page, write_report
from tests.reports.finished_job import finished_job


def test_card_and_page_lie_beside_the_adapter(tmp_path: Path) -> None:
    result = finished_job(tmp_path / "federation")
    folder = tmp_path / "result"
    (folder / "adapter").mkdir(parents=True)
    write_report(folder, result)
    assert (
        (folder / "MODEL_CARD.md").read_text() == (folder / "adapter" / "README.md").read_text() == model_card(result)
    )
    assert (folder / "result.html").read_text() == result_page(result)
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}
