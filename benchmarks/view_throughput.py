# SPDX-License-Identifier: Apache-2.0
"""How fast a governed view of a million rows is written, and with how much memory, beside pyarrow alone.

Run it: .venv/bin/python benchmarks/view_throughput.py [--rows 1000000] [--repeat 3] [--profile]

Two datasets, each as a Parquet file and as a table of a PostgreSQL server that is started for this and thrown away:
`letters`, of which the view holds a text and its class, and `measures`, of which it holds fourteen columns of numbers,
truth values and categories. Each run is a process of its own. Compared are:

  alone   pyarrow writes the view's columns, which lie in memory, in the same batches: nothing is read or looked at.
  store   the connector gives the view's columns, and they are thrown away.
  view    the whole of `write_view`: read, filtered, checked, cut, split by person, counted, written and digested; free
          text is kept as it is, for masking it is measured elsewhere (`benchmarks/deidentification.py`).

MB are of the view's columns as Arrow holds them. Memory is the process's largest resident set, Python and all libraries
included.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet
from tests.records.postgresql_server import READER, running_server

from cloister.jobs import DatasetRef
from cloister.records import ViewRequest, open_store, write_view
from cloister.row_filter import parse
from cloister.silos import Dataset

WAYS = ("alone", "store", "view")
FEATURES = (*(f"x{n}" for n in range(6)), *(f"k{n}" for n in range(4)), "flag", "sex", "ward")
KINDS: dict[str, dict[str, dict[str, Any]]] = {
    "letters": {
        "person": {"kind": "identifier"},
        "letter": {"kind": "text"},
        "urgency": {"kind": "category", "values": ["routine", "soon", "urgent"]},
        "age": {"kind": "integer", "minimum": 0, "maximum": 120},
        "written": {"kind": "date"},
    },
    "measures": {
        "person": {"kind": "identifier"},
        **{f"x{n}": {"kind": "number"} for n in range(6)},
        **{f"k{n}": {"kind": "integer"} for n in range(4)},
        "flag": {"kind": "boolean"},
        "sex": {"kind": "category", "values": ["female", "male"]},
        "ward": {"kind": "category", "values": [f"ward {n}" for n in range(12)]},
        "outcome": {"kind": "category", "values": ["no", "yes"]},
    },
}
WANTED: dict[str, dict[str, Any]] = {
    "letters": {"name": "letters", "text": "letter", "label": "urgency", "labels": ["routine", "soon", "urgent"]},
    "measures": {"name": "measures", "features": list(FEATURES), "label": "outcome", "labels": ["no", "yes"]},
}
FILTERS = {"letters": "age >= 1", "measures": "x0 > -3.9"}  # which nearly all rows pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="say where the time of each view goes")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_one(**json.loads(arguments.one))))
        return
    with tempfile.TemporaryDirectory(prefix="view-throughput-") as name:
        folder = Path(name)
        for table in KINDS:
            parquet.write_table(_table(table, arguments.rows), folder / f"{table}.parquet", row_group_size=1 << 17)
        with _postgresql(folder) as connector:
            print(f"{'':42}{'MB':>6}{'s':>8}{'CPU s':>8}{'MB/s':>8}{'peak MB':>9}{'goal MB/s':>11}")
            for table in KINDS:
                _compare(table, connector, folder, arguments)


def _compare(table: str, connector: dict[str, Any] | None, folder: Path, arguments: argparse.Namespace) -> None:
    alone = _measured(table, "alone", None, folder, arguments)
    goal = min(200.0, alone["rate"] / 2)
    _print(f"{table}: pyarrow alone", alone)
    sources = {"Parquet": {"kind": "parquet", "path": f"{table}.parquet"}}
    if connector is not None:
        sources["PostgreSQL"] = {**connector, "table": table}
    for source, said in sources.items():
        for way, filtered in (("store", False), ("view", False), ("view", True)):
            found = _measured(table, way, said, folder, arguments, filtered=filtered)
            name = f"{table}: {way}, {source}{' with a filter' if filtered else ''}"
            _print(name, found, goal if way == "view" else None)
            if arguments.profile and way == "view":
                print(found["profile"])


def _measured(
    table: str,
    way: str,
    connector: dict[str, Any] | None,
    folder: Path,
    arguments: argparse.Namespace,
    *,
    filtered: bool = False,
) -> dict[str, Any]:
    """Medians of several processes; the largest of their peaks."""
    asked = {"table": table, "way": way, "connector": connector, "folder": str(folder), "filtered": filtered}
    runs = []
    for _ in range(arguments.repeat):
        command = [sys.executable, __file__, "--one", json.dumps({**asked, "profile": arguments.profile})]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        runs.append(json.loads(done.stdout))
    medians = {key: statistics.median(run[key] for run in runs) for key in ("seconds", "computed")}
    found = {**runs[-1], **medians, "peak": max(run["peak"] for run in runs)}
    found["rate"] = found["megabytes"] / found["seconds"]
    return found


def _print(name: str, found: dict[str, Any], goal: float | None = None) -> None:
    print(
        f"{name:42}{found['megabytes']:6.0f}{found['seconds']:8.2f}{found['computed']:8.2f}{found['rate']:8.0f}"
        f"{found['peak']:9.0f}{'' if goal is None else f'{goal:11.0f}'}",
        flush=True,
    )


def _one(**asked: Any) -> dict[str, Any]:
    """One measurement, in this process."""
    table, folder = asked["table"], Path(asked["folder"])
    columns = _view_columns(table)
    if asked["way"] == "alone":
        content = parquet.read_table(folder / f"{table}.parquet", columns=list(columns))
        batches = content.combine_chunks().to_batches(16_384)
        begun = _now()
        with parquet.ParquetWriter(folder / "alone.parquet", content.schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        return {**_since(begun), "megabytes": content.nbytes / 1e6, "peak": _peak()}
    said = {"connector": asked["connector"], "columns": KINDS[table], "person": "person"}
    dataset = Dataset.model_validate(said, strict=False)
    if asked["way"] == "store":
        begun = _now()
        for _ in open_store(dataset, root=folder).batches(columns):
            pass
        spent, profile = _since(begun), ""
    else:
        spent, profile = _write_view(dataset, table, folder, asked["filtered"], asked["profile"])
    peak = _peak()
    content = parquet.read_table(folder / f"{table}.parquet", columns=list(columns))
    return {**spent, "megabytes": content.nbytes / 1e6, "peak": peak, "profile": profile}


def _write_view(dataset: Any, table: str, folder: Path, filtered: bool, profiled: bool) -> tuple[dict[str, float], str]:
    where = parse(FILTERS[table]) if filtered else None
    wanted = DatasetRef.model_validate(WANTED[table], strict=False)
    request = ViewRequest(wanted=wanted, seed=7, where=where, free_text="keep")
    view = folder / f"view-{os.getpid()}"
    profiler = cProfile.Profile()
    if profiled:
        profiler.enable()
    begun = _now()
    manifest = write_view(dataset, request, key=b"k" * 32, root=folder, folder=view, name=table)
    spent = _since(begun)
    profiler.disable()
    assert manifest.rejected == 0
    shutil.rmtree(view)
    if not profiled:
        return spent, ""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        stats = pstats.Stats(profiler, stream=nowhere).sort_stats("tottime")
    lines = []
    for place in stats.fcn_list[:12]:  # type: ignore[attr-defined]
        _, calls, own, _, _ = stats.stats[place]  # type: ignore[attr-defined]
        lines.append(f"    {own:7.2f} s {calls:9} calls  {pstats.func_std_string(place)}")  # type: ignore[attr-defined]
    return spent, "\n".join(lines)


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(begun: tuple[float, float]) -> dict[str, float]:
    """Seconds of the clock, and those that this process computed, on all its threads."""
    return {"seconds": time.perf_counter() - begun[0], "computed": time.process_time() - begun[1]}


def _peak() -> float:
    """MB of this process's largest resident set (proc_pid_status(5), VmHWM)."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e6


def _view_columns(table: str) -> tuple[str, ...]:
    return ("letter", "urgency") if table == "letters" else (*FEATURES, "outcome")


def _table(table: str, rows: int) -> pa.Table:
    """Invented records, the same in each run."""
    drawn = np.random.default_rng(7)
    person = pc.binary_join_element_wise("p", pa.array(drawn.integers(0, rows // 3 + 1, rows)).cast(pa.string()), "")
    if table == "letters":
        words = np.array(
            [f"{a}{b}" for a in ("fe", "pul", "car", "ne", "os") for b in ("ver", "mo", "dia", "phro", "teo")]
        )
        sentences = pa.array([" ".join(drawn.choice(words, 16)) for _ in range(20_000)])
        parts = [sentences.take(pa.array(drawn.integers(0, len(sentences), rows))) for _ in range(2)]
        number = pa.array(np.arange(rows)).cast(pa.string())
        letter = pc.binary_join_element_wise("letter", number, *parts, " ")
        urgency = pa.array(["routine", "soon", "urgent"]).take(pa.array(drawn.integers(0, 3, rows)))
        age = pa.array(drawn.integers(0, 100, rows))
        written = pa.array(drawn.integers(10_000, 19_000, rows).astype("int32")).cast(pa.date32())
        return pa.table([person, letter, urgency, age, written], names=list(KINDS["letters"]))
    columns: dict[str, Any] = {"person": person}
    columns |= {f"x{n}": pa.array(drawn.normal(size=rows)) for n in range(6)}
    columns |= {f"k{n}": pa.array(drawn.integers(0, 10 ** (n + 1), rows)) for n in range(4)}
    columns["flag"] = pa.array(drawn.random(rows) < 0.5)
    for name in ("sex", "ward", "outcome"):
        values = pa.array(KINDS["measures"][name]["values"])
        columns[name] = values.take(pa.array(drawn.integers(0, len(values), rows)))
    return pa.table(columns)


@contextmanager
def _postgresql(folder: Path) -> Iterator[dict[str, Any] | None]:
    """A server with the same tables; how a silo document names it, but for the table."""
    types = {"identifier": "text", "text": "text", "category": "text", "number": "double precision"}
    types |= {"integer": "bigint", "boolean": "boolean", "date": "date"}
    try:
        with running_server() as server, server.database() as database:
            for table, columns in KINDS.items():
                cells = ", ".join(f"{name} {types[said['kind']]}" for name, said in columns.items())
                server.execute(f"CREATE TABLE {table} ({cells})", database=database)
                with server.superuser(database) as connection:
                    with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv)") as copy:
                        for batch in parquet.ParquetFile(folder / f"{table}.parquet").iter_batches(50_000):
                            sink = pa.BufferOutputStream()
                            csv.write_csv(batch, sink, csv.WriteOptions(include_header=False))
                            copy.write(sink.getvalue().to_pybytes())
                    connection.execute(f"VACUUM ANALYZE {table}")
            said = {
                "kind": "postgresql",
                "host": "localhost",
                "port": server.port,
                "database": database,
                "user": READER,
            }
            yield {**said, "password": {"file": str(server.password)}, "tls_authority": str(server.authority)}
    except FileNotFoundError:
        print("PostgreSQL's server is not installed (sh scripts/postgresql.sh); it is left out", file=sys.stderr)
        yield None


if __name__ == "__main__":
    main()
