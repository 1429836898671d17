# SPDX-License-Identifier: Apache-2.0
"""Draws docs/benchmarks.html, one page of plots, and writes the tables of docs/benchmarks.md that come from a file.

Run it: .venv/bin/python benchmarks/plots.py [--results FILE]

What is drawn is in docs/benchmarks.json, as `round_overhead.py --results` and `upload_bytes.py --results` write it, and
in tables of docs/benchmarks.md, which are drawn as they stand there. With `--results` the sections of that file take
the place of those in docs/benchmarks.json first. Nothing is measured here.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.page import results as results_file
from benchmarks.page.markdown_table import put_between
from benchmarks.page.plots_page import plots_page
from benchmarks.page.results import Results
from benchmarks.page.round_table import round_table
from benchmarks.page.upload_table import upload_table

from cloister.files import write_atomically

DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS, TABLES, PAGE = DOCS / "benchmarks.json", DOCS / "benchmarks.md", DOCS / "benchmarks.html"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="JSON file whose sections are taken over")
    options = parser.parse_args()
    results = results_file.read(RESULTS)
    if options.results:
        results |= results_file.read(options.results)
        results_file.write(RESULTS, results)
    tables = with_tables(TABLES.read_text(encoding="utf-8"), results)
    write_atomically(TABLES, tables.encode())
    write_atomically(PAGE, plots_page(results, tables).encode())
    print(f"wrote {TABLES.name} and {PAGE.name} in {DOCS}")


def with_tables(page: str, results: Results) -> str:
    """The page ``page`` with every table that comes from ``results`` in its place."""
    page = put_between(page, "null job", round_table(results["null_job"]["turns"]))
    return put_between(page, "upload", upload_table(results["upload"]))


if __name__ == "__main__":
    main()
