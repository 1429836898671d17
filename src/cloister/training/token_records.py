# SPDX-License-Identifier: Apache-2.0
"""The governed view as a token classifier needs it: tokens, the tag of each, and batches of them.

Each token has a tag, continuations of a word as well, since a piece may begin inside one: the first token that covers a
part of the piece has `B-`, the others have `I-`. A token that covers parts of two pieces belongs to the first of them.
Tokens that stand for no text, such as the one that begins every text, have none and do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from cloister.errors import RecordsError
from cloister.silos.spans import Span, spans_of
from cloister.training.order import Indices, OfLength
from cloister.training.view_columns import read_columns, wrong_row

NO_TAG = -100
"""In the place of a tag where there is none; PyTorch's cross-entropy ignores it."""


@dataclass(frozen=True)
class Encoded:
    """One text as tokens.

    Attributes:
        tokens: their numbers.
        places: by token, the characters of the text that it covers, as (first, behind the last).
        special: by token, whether it stands for no text.
    """

    tokens: Sequence[int]
    places: Sequence[tuple[int, int]]
    special: Sequence[int]


Encode = Callable[[list[str]], list[Encoded]]


@dataclass(frozen=True)
class TokenBatch:
    """Padded records: token numbers, mask and tags, each of shape (n, longest), int64."""

    tokens: torch.Tensor
    mask: torch.Tensor
    tags: torch.Tensor


@dataclass(frozen=True)
class TokenRecords(OfLength):
    """Texts as tokens with their tags.

    Attributes:
        tokens: token numbers of each text.
        tags: number of each token's tag, `NO_TAG` where it has none.
        lost: marked pieces that no token covers, because the text was cut before them or a piece before took the token.
        padding: token number that fills up shorter texts.
    """

    tokens: list[npt.NDArray[np.int32]]
    tags: list[npt.NDArray[np.int32]]
    lost: int
    padding: int

    @property
    def lengths(self) -> Indices:
        """Number of tokens of each text, shape (n,)."""
        return np.array([len(tokens) for tokens in self.tokens], np.int64)

    def batch(self, chosen: Indices, device: torch.device) -> TokenBatch:
        """The records at the indices ``chosen``, padded to the longest among them, on ``device``."""
        shape = (len(chosen), max(len(self.tokens[index]) for index in chosen))
        tokens, mask = np.full(shape, self.padding, np.int64), np.zeros(shape, np.int64)
        tags = np.full(shape, NO_TAG, np.int64)
        for row, index in enumerate(chosen):
            length = len(self.tokens[index])
            tokens[row, :length], tags[row, :length], mask[row, :length] = self.tokens[index], self.tags[index], 1
        return TokenBatch(*(torch.from_numpy(array).to(device) for array in (tokens, mask, tags)))


def read_token_records(  # noqa: PLR0913 - what is read, each by its name
    view: str, file: str, *, text: str, entities: str, labels: tuple[str, ...], encode: Encode, padding: int
) -> TokenRecords:
    """Read and tokenise one file of the view.

    Args:
        view: its folder.
        file: the Parquet file in it.
        text: column with the text.
        entities: column with the marked pieces of it, see `cloister.silos.spans`.
        labels: what a piece may be, in the order of their numbers.
        encode: turns texts into tokens.
        padding: token number that fills up shorter texts.

    Raises:
        RecordsError: where a record has no text, or pieces that are not such of the text; it is not quoted.
    """
    texts, cells = read_columns(view, file, text, entities)
    numbers = {label: number for number, label in enumerate(labels)}
    spans = [
        _spans(file, index, (text, entities), pair, numbers)
        for index, pair in enumerate(zip(texts, cells, strict=True))
    ]
    tokens, tags, lost = [], [], 0
    for encoded, marked in zip(encode(texts) if texts else [], spans, strict=True):
        found, without = tags_on(encoded, marked, numbers)
        tokens.append(np.array(encoded.tokens, np.int32))
        tags.append(np.array(found, np.int32))
        lost += without
    return TokenRecords(tokens, tags, lost, padding)


def _spans(
    file: str, index: int, columns: tuple[str, str], cells: tuple[object, object], numbers: Mapping[str, int]
) -> tuple[Span, ...]:
    text, marked = cells
    if not isinstance(text, str):
        raise wrong_row(file, index, columns[0], "holds no text")
    if not isinstance(marked, str):
        raise wrong_row(file, index, columns[1], "holds no marked pieces")
    try:
        return spans_of(marked, length=len(text), labels=numbers)
    except RecordsError as error:
        raise wrong_row(file, index, columns[1], error.message) from None


def tags_on(encoded: Encoded, spans: Sequence[Span], numbers: Mapping[str, int]) -> tuple[list[int], int]:
    """The number of each token's tag, and how many of ``spans`` no token was left for.

    Args:
        encoded: the text.
        spans: its marked pieces, in order.
        numbers: of the labels.
    """
    tags = [NO_TAG if special else 0 for special in encoded.special]
    lost = 0
    for span in spans:
        covering = [
            index
            for index, (first, behind) in enumerate(encoded.places)
            if first < span.end and span.start < behind and tags[index] == 0
        ]
        lost += not covering
        for index in covering:
            tags[index] = 2 * numbers[span.label] + (1 if index == covering[0] else 2)
    return tags, lost
