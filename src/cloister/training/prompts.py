# SPDX-License-Identifier: Apache-2.0
"""How prompts and conversations become the tokens that a language model reads, and which of them it learns to write.

1. A prompt stands as it is, with a line feed behind it; then the completion, then the token that ends a text. Only the
   completion and that token are learnt.
2. A conversation stands as the base model's own chat template writes it, and what the assistant says is learnt: what
   the template adds for the assistant's turn behind the words that ask for it. The token that ends a text follows where
   the template writes none.
3. Without a template, each message is a line with the role and a colon, and a line with the content. Each answer ends
   with the token that ends a text.
4. What is learnt is tokenised apart from what it follows, as it is when the model writes it.
5. A text that is too long loses the beginning of what comes before the first learnt token, all but its last token if
   need be; then its own end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import TemplateError

from cloister.errors import RecordsError, TrainerError
from cloister.silos.dialogue import ASSISTANT, Message


@dataclass(frozen=True)
class Piece:
    """A part of a text.

    Attributes:
        text: the part.
        learnt: whether the model learns to write it.
        ends: whether the token that ends a text follows, which is learnt as well.
        begins: whether the token that begins a text comes before, where the base model has one.
    """

    text: str
    learnt: bool = False
    ends: bool = False
    begins: bool = False


@dataclass(frozen=True)
class Tokens:
    """One record as the model reads it.

    Attributes:
        numbers: of its tokens, int32, shape (n,).
        learnt: which of them are learnt, shape (n,); never the first.
    """

    numbers: npt.NDArray[np.int32]
    learnt: npt.NDArray[np.bool_]


class Prompts:
    """Writes records with the tokenizer of one base model.

    Args:
        tokenizer: of transformers.
        longest: the most tokens that a record may have, at least 3.

    Raises:
        TrainerError: where the tokenizer has no token that ends a text.
    """

    def __init__(self, tokenizer: Any, longest: int) -> None:
        self._tokenizer = tokenizer
        self._longest = longest
        if tokenizer.eos_token_id is None:
            raise TrainerError("the base model's tokenizer has no token that ends a text")
        self._end = int(tokenizer.eos_token_id)
        first = tokenizer("")["input_ids"][:1]
        self._begin: list[int] = first if first == [tokenizer.bos_token_id] else []

    def of_prompt(self, prompt: str, completion: str) -> list[Piece]:
        """A prompt and its completion."""
        return [Piece(f"{prompt}\n", begins=True), Piece(completion, learnt=True, ends=True)]

    def of_messages(self, messages: Sequence[Message]) -> list[Piece]:
        """A conversation; what is said after the assistant's last word is left out, since nothing follows from it.

        Raises:
            RecordsError: where the base model's chat template cannot write it.
        """
        last = max(index for index, message in enumerate(messages) if message.role == ASSISTANT)
        if self._tokenizer.chat_template:
            return list(self._by_template(messages[: last + 1]))
        pieces = [Piece("", begins=True)]
        for message in messages[: last + 1]:
            if message.role == ASSISTANT:
                pieces += [Piece(f"{message.role}:\n"), Piece(message.content, learnt=True, ends=True)]
            else:
                pieces.append(Piece(f"{message.role}:\n{message.content}\n"))
        return pieces

    def _by_template(self, messages: Sequence[Message]) -> Iterator[Piece]:
        before = ""
        for index, message in enumerate(messages):
            if message.role != ASSISTANT:
                continue
            asked = self._written(messages[:index], asks=True)
            answered = self._written(messages[: index + 1], asks=False)
            if not asked.startswith(before) or not answered.startswith(asked):
                raise RecordsError("is a conversation whose earlier turns the base model's chat template changes")
            yield Piece(asked[len(before) :])
            yield Piece(answered[len(asked) :], learnt=True)
            before = answered
        yield Piece("", ends=True)

    def _written(self, messages: Sequence[Message], *, asks: bool) -> str:
        plain = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text: str = self._tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=asks)
        except (TemplateError, TypeError, ValueError):
            raise RecordsError("is a conversation that the base model's chat template cannot write") from None
        return text

    def tokens(self, records: Sequence[Sequence[Piece]]) -> list[Tokens]:
        """Each of ``records`` as tokens, cut to the longest that is allowed."""
        texts = list(dict.fromkeys(piece.text for pieces in records for piece in pieces if piece.text))
        numbers = self._tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        by_text: dict[str, list[int]] = {"": [], **dict(zip(texts, numbers, strict=True))}
        return [self._joined(pieces, by_text) for pieces in records]

    def _joined(self, pieces: Sequence[Piece], by_text: dict[str, list[int]]) -> Tokens:
        numbers: list[int] = []
        learnt: list[bool] = []
        for piece in pieces:
            begin = self._begin if piece.begins else []
            numbers += [*begin, *by_text[piece.text]]
            learnt += [*(False for _ in begin), *(piece.learnt for _ in by_text[piece.text])]
            if piece.ends and not self._has_ended(numbers, learnt, written=bool(piece.text)):
                numbers.append(self._end)
                learnt.append(True)
        return self._cut(numbers, learnt)

    def _has_ended(self, numbers: list[int], learnt: list[bool], *, written: bool) -> bool:
        """Whether a text that was ``written`` by somebody brings its end; a template may write something behind it."""
        if written:
            return numbers[-1] == self._end
        last = itertools.takewhile(lambda pair: pair[1], zip(reversed(numbers), reversed(learnt), strict=True))
        return any(number == self._end for number, _ in last)

    def _cut(self, numbers: list[int], learnt: list[bool]) -> Tokens:
        kept = len(self._begin) if numbers[: len(self._begin)] == self._begin else 0
        too_many = len(numbers) - self._longest
        if too_many > 0:
            gone = slice(kept, kept + min(too_many, max(learnt.index(True) - 1 - kept, 0)))
            del numbers[gone], learnt[gone]
        cut = Tokens(np.array(numbers[: self._longest], np.int32), np.array(learnt[: self._longest], np.bool_))
        cut.learnt[0] = False  # nothing comes before it that could foretell it
        return cut
