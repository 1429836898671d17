# SPDX-License-Identifier: Apache-2.0
"""The governed view as a language model needs it: tokens, and batches of them with one record or several to a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from cloister.errors import RecordsError, TrainerError
from cloister.jobs import DatasetRef
from cloister.silos.dialogue import messages_of
from cloister.training.order import Indices, OfLength
from cloister.training.prompts import Piece, Prompts, Tokens
from cloister.training.view_columns import read_columns, wrong_row


@dataclass(frozen=True)
class LanguageBatch:
    """Rows of records, each array of shape (rows, longest row).

    Attributes:
        tokens: their numbers, int64.
        positions: of each token in its record, from 0, int64. Where they begin anew, attention does not reach back:
            transformers takes that for the border between packed texts, where no attention mask is given.
        learnt: which tokens are learnt.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    learnt: torch.Tensor


@dataclass(frozen=True)
class LanguageRecords(OfLength):
    """Records as tokens.

    Attributes:
        records: the tokens of each.
        longest: the most tokens that a row of a batch may have.
        packing: whether a row may hold several records.
        padding: token number that fills up shorter rows.
    """

    records: list[Tokens]
    longest: int
    packing: bool
    padding: int

    @property
    def lengths(self) -> Indices:
        """Number of tokens of each record, shape (n,)."""
        return np.array([len(record.numbers) for record in self.records], np.int64)

    def batch(self, chosen: Indices, device: torch.device) -> LanguageBatch:
        """The records at the indices ``chosen`` on ``device``."""
        rows = self._packed(chosen) if self.packing else [[int(index)] for index in chosen]
        shape = (len(rows), max(sum(len(self.records[index].numbers) for index in row) for row in rows))
        tokens, positions = np.full(shape, self.padding, np.int64), np.zeros(shape, np.int64)
        learnt = np.zeros(shape, np.bool_)
        for number, row in enumerate(rows):
            place = 0
            for index in row:
                record = self.records[index]
                span = slice(place, place + len(record.numbers))
                tokens[number, span], learnt[number, span] = record.numbers, record.learnt
                positions[number, span] = np.arange(len(record.numbers))
                place = span.stop
            positions[number, place:] = np.arange(shape[1] - place)
        return LanguageBatch(*(torch.from_numpy(array).to(device) for array in (tokens, positions, learnt)))

    def _packed(self, chosen: Indices) -> list[list[int]]:
        """First fit, longest first (Johnson, https://doi.org/10.1137/0203025)."""
        rows: list[list[int]] = []
        room: list[int] = []
        for index in sorted(chosen.tolist(), key=lambda index: -len(self.records[index].numbers)):
            size = len(self.records[index].numbers)
            row = next((row for row, left in enumerate(room) if left >= size), None)
            if row is None:
                rows.append([index])
                room.append(self.longest - size)
            else:
                rows[row].append(index)
                room[row] -= size
        return rows


def read_language_records(view: str, file: str, dataset: DatasetRef, prompts: Prompts) -> list[Tokens]:
    """Read and tokenise one file of the view.

    Args:
        view: its folder.
        file: the Parquet file in it.
        dataset: says which columns are prompt and completion, or which holds conversations.
        prompts: writes records.

    Raises:
        RecordsError: where a record lacks a text, or holds no conversation; it is not quoted.
        TrainerError: where ``dataset`` names no such columns.
    """
    if dataset.messages is not None:
        (cells,) = read_columns(view, file, dataset.messages)
        return prompts.tokens(
            [_conversation(file, index, dataset.messages, cell, prompts) for index, cell in enumerate(cells)]
        )
    if dataset.prompt is None or dataset.completion is None:
        raise TrainerError("a language model needs a column with prompts and one with completions, or conversations")
    names = (dataset.prompt, dataset.completion)
    pairs = list(zip(*read_columns(view, file, *names), strict=True))
    for index, pair in enumerate(pairs):
        for name, cell in zip(names, pair, strict=True):
            if not isinstance(cell, str):
                raise wrong_row(file, index, name, "holds no text")
    return prompts.tokens([prompts.of_prompt(prompt, completion) for prompt, completion in pairs])


def _conversation(file: str, index: int, column: str, cell: object, prompts: Prompts) -> list[Piece]:
    if not isinstance(cell, str):
        raise wrong_row(file, index, column, "holds no conversation")
    try:
        return prompts.of_messages(messages_of(cell))
    except RecordsError as error:
        raise wrong_row(file, index, column, error.message) from None
