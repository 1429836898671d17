# SPDX-License-Identifier: Apache-2.0
"""The built-in text classifier with what its frozen lower layers give looked up, so that many runs are affordable.

Where only upper layers are adapted, the lower ones give the same for a text in every step of every run. That is worked
out once and kept in a file; layers above it, adapters, head, loss, optimiser and order are the built-in trainer's. It
differs from that in one thing: lower layers have no dropout while training.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModel, AutoTokenizer

from cloister.messages import Setup
from cloister.training.text_classifier import TextClassifier

Tokens = npt.NDArray[np.int32]


class LowerLayers(torch.nn.Module):
    """Takes the place of a BERT's embeddings: gives what its lowest layers make of texts that are known.

    Args:
        tokens: of all known texts, one after another.
        lengths: of each text in tokens.
        hidden: of each token, shape (tokens, size of a layer), float32.
    """

    def __init__(self, tokens: Tokens, lengths: Tokens, hidden: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self._hidden = hidden
        starts = np.concatenate([[0], np.cumsum(lengths)])
        self._starts = {tokens[start:end].tobytes(): int(start) for start, end in itertools.pairwise(starts)}

    def forward(self, input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        """Hidden states of shape (n, longest, size) for tokens of shape (n, longest), padded with 0."""
        rows = input_ids.numpy().astype(np.int32)
        found = np.zeros((*rows.shape, self._hidden.shape[1]), np.float32)
        for row, into in zip(rows, found, strict=True):
            length = int(np.count_nonzero(row))
            start = self._starts[row[:length].tobytes()]
            into[:length] = self._hidden[start : start + length]
        return torch.from_numpy(found)

    @classmethod
    def kept(cls, folder: Path, texts: Sequence[str], base_model: Path, *, layers: int, longest: int) -> LowerLayers:
        """Those of ``texts``, from files in ``folder``, which are made where they are missing.

        Args:
            folder: for this base model, these texts and these numbers alone.
            texts: all that will ever be asked for.
            base_model: a BERT's folder.
            layers: how many of the lowest.
            longest: texts are cut after so many tokens.
        """
        if not (folder / "hidden.npy").exists():
            folder.mkdir(parents=True, exist_ok=True)
            tokenizer = AutoTokenizer.from_pretrained(base_model)
            listed = tokenizer(sorted(set(texts)), truncation=True, max_length=longest)["input_ids"]
            listed.sort(key=len)
            np.save(folder / "tokens.npy", np.concatenate([np.array(each, np.int32) for each in listed]))
            np.save(folder / "lengths.npy", np.array([len(each) for each in listed], np.int32))
            np.save(folder / "draft.npy", _hidden(base_model, listed, layers))
            (folder / "draft.npy").rename(folder / "hidden.npy")
        hidden = np.load(folder / "hidden.npy", mmap_mode="r")
        return cls(np.load(folder / "tokens.npy"), np.load(folder / "lengths.npy"), hidden)


class UpperLayers(TextClassifier):
    """The built-in text classifier above ``lower``.

    Args:
        setup: what to load.
        lower: what the lowest layers give.
        layers: how many those are.
    """

    def __init__(self, setup: Setup, lower: LowerLayers, layers: int) -> None:
        self._lower, self._below = lower, layers
        super().__init__(setup)

    def _network(self) -> Any:
        model = super()._network()
        bert = model.base_model.model.bert
        bert.embeddings = self._lower
        for number in range(self._below):
            bert.encoder.layer[number] = _Passed()
        return model


class _Passed(torch.nn.Module):
    def forward(self, hidden: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden


def _hidden(base_model: Path, listed: list[list[int]], layers: int) -> npt.NDArray[np.float32]:
    """Hidden states of all tokens; ``listed`` is sorted by length, so that batches need little padding."""
    model = AutoModel.from_pretrained(base_model).eval()
    model.encoder.layer = model.encoder.layer[:layers]
    found = []
    with torch.inference_mode():
        for start in range(0, len(listed), 64):
            part = listed[start : start + 64]
            lengths = torch.tensor([len(each) for each in part])
            tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(each) for each in part], batch_first=True)
            mask = torch.arange(tokens.shape[1])[None] < lengths[:, None]
            found.append(model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state[mask].numpy())
    return np.concatenate(found)
