# SPDX-License-Identifier: Apache-2.0
"""A mapping in a document that makes a choice: exactly one of its keys is given."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from cloister.documents.document import Model


class OneOf(Model):
    """Base of such a mapping's model; each field may be None, and is where its key is not given."""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if len(self._given()) != 1:
            known = ", ".join(f"`{key}`" for key in type(self).model_fields)
            raise ValueError(f"needs exactly one of {known}")
        return self

    @property
    def name(self) -> str:
        """The key that is given."""
        return self._given()[0]

    def _given(self) -> list[str]:
        return [key for key in type(self).model_fields if getattr(self, key) is not None]
