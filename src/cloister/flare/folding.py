# SPDX-License-Identifier: Apache-2.0
"""What a job of `factors: flora` folds into the base model: what the server sends of it, and what a site takes over.

It travels behind the encoded weights of a task, as safetensors. A site that has what was folded before gets the last
round's stack alone; any other, and every site after all was taken apart anew, gets all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cloister.adapter_file import maximum_header_bytes
from cloister.aggregation.factors import Trained, check_folded, folded, fresh, most_folded_bytes, patterns, stacked
from cloister.egress import write_adapter
from cloister.errors import JobError
from cloister.flare.exchange import Sent
from cloister.flare.payload import Payload, content_of
from cloister.jobs import AdapterLayout, Job
from cloister.jobs.adapter import Arrays, read_arrays
from cloister.jobs.folded_tensors import folds

PREFIX = "base_model.model."
"""What `peft` puts before the names of a base model's layers."""


class Folding:
    """All that is folded so far, at the server.

    Args:
        job: which one; without `factors: flora` nothing is ever folded.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._all: Arrays = {}
        self._stack: Arrays = {}
        self._anew = False

    def drawn(self, arrays: Arrays, layout: AdapterLayout, number: int) -> Arrays:
        """``arrays`` with the factors that round ``number`` begins with, in the ranks of ``layout``."""
        return arrays | fresh(layout, self._job.seed, number)

    def add(self, trained: Sequence[Trained]) -> None:
        """Fold in what the sites trained in a round.

        Raises:
            JobError: where that is too large for float32.
        """
        with np.errstate(over="ignore"):  # it is looked at
            stack = stacked(trained)
            now = folded(self._all, stack)
        if not all(np.isfinite(array).all() for array in (*stack.values(), *now.arrays.values())):
            raise JobError("what the sites trained is too large to be folded into the base model")
        self._stack, self._all, self._anew = stack, now.arrays, now.anew

    def behind(self, sent: Sent, payload: Payload) -> tuple[Sent, Payload]:
        """What is sent to sites that are sent ``payload`` of the weights."""
        if not self._all:
            return sent, payload
        stack = sent.kind != "whole" and not self._anew
        more = write_adapter(self._stack if stack else self._all)
        known = sent.model_copy(update={"folded": "stack" if stack else "all", "folded_bytes": len(more)})
        return known, content_of(payload) + more

    def finished(self, arrays: Arrays, config: dict[str, Any]) -> tuple[Arrays, dict[str, Any]]:
        """The result: what is folded in place of the fresh factors, and what `peft` must know of its ranks."""
        lora = self._job.way.lora
        if not self._all or lora is None:
            return arrays, config
        scale = lora.alpha / (lora.rank**0.5 if lora.rslora else lora.rank)
        return arrays | self._all, config | patterns(self._all, scale, prefix=PREFIX, root=lora.rslora)


class FoldedHere:
    """All that is folded so far, at a site.

    Args:
        job: which one; without `factors: flora` nothing is taken over.
        layout: what the site exchanges.
    """

    def __init__(self, job: Job, layout: AdapterLayout) -> None:
        self._folds, self._layout = folds(job.aggregation), layout
        self.arrays: Arrays = {}

    @property
    def most_bytes(self) -> int:
        """That all of it takes, with names and shapes."""
        return most_folded_bytes(self._layout) + maximum_header_bytes(self._layout) if self._folds else 0

    def take(self, sent: Sent | None, payload: Payload) -> Payload:
        """Take over what lies behind the weights in ``payload``; returns the weights.

        Raises:
            JobError: where it is not what ``sent`` says, or cannot be folded into this job's layers.
        """
        if sent is None or sent.folded is None:
            return payload
        if not self._folds:
            raise JobError("the server sent something to fold in, and this job folds nothing in")
        content = content_of(payload)
        weights, more = content[: -sent.folded_bytes], content[-sent.folded_bytes :]
        if len(more) != sent.folded_bytes:
            raise JobError("the server sent less to fold in than it says")
        try:
            arrays = read_arrays(more)
            check_folded(arrays, self._layout)
            now = folded(self.arrays, arrays).arrays if sent.folded == "stack" else arrays
            check_folded(now, self._layout)
        except ValueError as error:
            raise JobError("the server sent something to fold in that does not fit the job's layers") from error
        self.arrays = now
        return weights
