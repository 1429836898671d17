# SPDX-License-Identifier: Apache-2.0
"""Silo documents: what a dataset may declare."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloister.documents import load, parse
from cloister.errors import InvalidDocumentsError
from cloister.silos import ColumnKind, CsvConnector, OmopConnector, ParquetConnector, Silo, SqliteConnector

ROOT = Path(__file__).resolve().parents[2]
TEXT = """\
site: north
organisation: o
datasets:
  notes:
    connector: { kind: sqlite, path: notes.db, table: notes }
    columns:
      who: { kind: identifier }
      note: { kind: text }
      triage: { kind: category, values: [a, b] }
"""


def read(old: str = "", new: str = "") -> Silo:
    assert old in TEXT
    return parse(TEXT.replace(old, new).encode(), Silo, name="north.yaml").value


@pytest.mark.parametrize(
    ("connector", "kind"),
    [
        ("{ kind: sqlite, path: notes.db, table: notes }", SqliteConnector),
        ("{ kind: parquet, path: notes.parquet }", ParquetConnector),
        ("{ kind: csv, path: /srv/notes.csv }", CsvConnector),
    ],
)
def test_each_kind_of_connector_is_read(connector: str, kind: type) -> None:
    silo = read("{ kind: sqlite, path: notes.db, table: notes }", connector)
    assert type(silo.datasets["notes"].connector) is kind


def test_what_is_not_said_is_strict() -> None:
    silo = read()
    assert silo.datasets["notes"].maximum_rejected_share <= 0.05
    assert silo.datasets["notes"].columns["who"].kind is ColumnKind.IDENTIFIER
    assert not silo.base_models


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("values: [a, b]", "values: [a]", "needs two or more different `values`"),
        ("values: [a, b]", "values: [a, a]", "needs two or more different `values`"),
        ("values: [a, b]", "values: [a, 1]", "entry of `datasets.notes.columns.triage.values` must be text, not a num"),
        ("{ kind: text }", "{ kind: text, values: [a, b] }", "may not list `values`, because it is of kind text"),
        ("{ kind: text }", "{ kind: txt }", "`datasets.notes.columns.note.kind` should be"),
        ("table: notes }", "tabel: notes }", "unknown key `tabel` (did you mean `table`?)"),
        ("table: notes }", "table: 'a; DROP TABLE b' }", "`datasets.notes.connector.table` must be 1 to 63 letters"),
        ("kind: sqlite", "kind: oracle", "`datasets.notes.connector` is of an unknown kind `oracle`"),
        ("path: notes.db", 'path: "a\\0b"', "`datasets.notes.connector.path` must be one line of text"),
        ("who: {", '"who\\"": {', "must be 1 to 63 letters, digits and underscores"),
        ("site: north", "site: all", "reserved word `all`"),
    ],
)
def test_what_cannot_be_meant_is_refused(old: str, new: str, wrong: str) -> None:
    with pytest.raises(InvalidDocumentsError) as caught:
        read(old, new)
    assert wrong in str(caught.value)


def test_reference_silos_are_named_like_their_files() -> None:
    files = sorted((ROOT / "silos").rglob("*.yaml"))
    assert len(files) == 6
    for file in files:
        silo = load(file, Silo).value
        assert silo.site == file.stem
        for dataset in silo.datasets.values():
            connector = dataset.connector
            place = connector.source if isinstance(connector, OmopConnector) else connector
            assert place.path.startswith(f"demo/records/{silo.site}/")
