# SPDX-License-Identifier: Apache-2.0
"""Several mistakes in one value, each of which is told by itself and with its own line."""

from __future__ import annotations

from collections.abc import Iterable


class SeveralMistakesError(ValueError):
    """What a model's validator raises where one sentence is not enough.

    Args:
        said: a sentence for each mistake, each as a `ValueError` would say it.
    """

    def __init__(self, said: Iterable[str]) -> None:
        self.said = tuple(said)
        super().__init__("; ".join(self.said))


def refuse(said: Iterable[str]) -> None:
    """Raise for all that is ``said`` of a value; nothing where nothing is.

    Raises:
        SeveralMistakesError: where something is.
    """
    if found := tuple(said):
        raise SeveralMistakesError(found)
