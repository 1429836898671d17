# SPDX-License-Identifier: Apache-2.0
"""Invented customers of three banks, and the balance that each will have in half a year, in three kinds of store."""

from __future__ import annotations

import io
import random
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import ipc, parquet

COLUMNS = ("customer_id", "age", "segment", "income", "balance", "products", "months", "balance_later")
SEGMENTS = ("starter", "family", "senior")

_CHILDREN = 5
# What the balance grows by, in thousands, beside what income and products bring.
_GROWTH = {"starter": -0.8, "family": 0.0, "senior": 1.2}

Account = tuple[str, int, str, float, float, int, int, float]


@dataclass(frozen=True)
class BankSite:
    """Whom a bank serves.

    Attributes:
        site: its name.
        customers: how many.
        shares: of the segments, in the order of `SEGMENTS`; uneven, as real banks' are.
        income: mean, in thousands a year.
    """

    site: str
    customers: int
    shares: tuple[int, int, int]
    income: float


BANK_SITES = (
    BankSite("bank-oak", 260, (1, 3, 6), 48.0),
    BankSite("bank-elm", 220, (6, 3, 1), 31.0),
    BankSite("bank-ash", 300, (2, 6, 2), 39.0),
)


def accounts(site: BankSite, seed: int) -> list[Account]:
    """The customers of one bank as rows in the order of `COLUMNS`; money in thousands."""
    draw = random.Random(f"{seed} accounts {site.site}")  # noqa: S311  records are invented, not secret
    rows = [_account(number, site, draw) for number in range(1, site.customers + _CHILDREN + 1)]
    for number in draw.sample(range(len(rows)), _CHILDREN):
        row = rows[number]
        rows[number] = (row[0], draw.randint(10, 17), *row[2:])
    return rows


def account_files(site: BankSite, seed: int) -> dict[str, bytes]:
    """What is written of one bank's customers."""
    name, write = _WRITERS[site.site]
    return {name: write(accounts(site, seed))}


def _account(number: int, site: BankSite, draw: random.Random) -> Account:
    (segment,) = draw.choices(SEGMENTS, site.shares)
    age = {"starter": draw.randint(18, 32), "family": draw.randint(30, 58), "senior": draw.randint(56, 88)}[segment]
    income = round(max(9.0, draw.gauss(site.income, 9.0)), 1)
    balance = round(max(0.0, draw.gauss(0.25 * income, 4.0)), 2)
    products, months = draw.randint(1, 5), draw.randint(3, 240)
    later = 0.7 * balance + 0.09 * income + _GROWTH[segment] - 0.5 * products + draw.gauss(0.0, 0.8)
    return (f"SYN-C-{number:05}", age, segment, income, balance, products, months, round(later, 2))


def _table(rows: Sequence[Account]) -> pa.Table:
    kinds = (pa.string(), pa.int64(), pa.string(), pa.float64(), pa.float64(), pa.int64(), pa.int64(), pa.float64())
    arrays = [pa.array(cells, kind) for cells, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    return pa.table(arrays, names=list(COLUMNS))


def _sqlite(rows: Sequence[Account]) -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(
            "CREATE TABLE accounts (customer_id TEXT PRIMARY KEY, age INTEGER, segment TEXT, income REAL, balance REAL,"
            " products INTEGER, months INTEGER, balance_later REAL)"
        )
        connection.executemany("INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
        return connection.serialize()


def _parquet(rows: Sequence[Account]) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(_table(rows), stream)
    return stream.getvalue()


def _arrow(rows: Sequence[Account]) -> bytes:
    stream = io.BytesIO()
    table = _table(rows)
    with ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


_WRITERS: dict[str, tuple[str, Callable[[Sequence[Account]], bytes]]] = {
    "bank-oak": ("accounts.sqlite", _sqlite),
    "bank-elm": ("accounts.parquet", _parquet),
    "bank-ash": ("accounts.arrow", _arrow),
}
