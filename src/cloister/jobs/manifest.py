# SPDX-License-Identifier: Apache-2.0
"""A job's manifest: one statement of what the whole job is, which its submitter signs.

1. It names the job and its purpose, every file of both its apps by path and digest, the sites that are asked, who
   submits it, and its training code's digest where it brings any.
2. It has a nonce of 128 bits, so that no two submissions are one, and a time before and after which it counts for
   nothing, at most seven days apart.
3. One manifest has one spelling as bytes: canonical JSON. A key that is missing, a key more, or a value of another kind
   is refused.

What is not in it: itself, NVFlare's signatures, and NVFlare's `meta.json`, whose content follows from the rest.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from cloister.errors import DeniedError
from cloister.files import canonical_json, sha256_of
from cloister.jobs.model import Job
from cloister.names import PersonName, SiteName, Word

MAXIMUM_LIFETIME = timedelta(days=7)
NONCE_BYTES = 16
CODE_PATH = "site_app/config/code.json"
"""Where a job's training code lies in its folder; `cloister.flare.job_folder` takes it from here."""

DOCUMENT = "config/job.yaml"
"""The job document inside each app."""

MAXIMUM_FILES = 100

_MAXIMUM_BYTES = 1 << 16
_LATEST_SECONDS = 253_402_300_800  # the year 10000, which `datetime` cannot tell
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){1,3}")
_NONCE = re.compile(rf"[0-9a-f]{{{2 * NONCE_BYTES}}}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WORD: TypeAdapter[str] = TypeAdapter(Word)
_SITE: TypeAdapter[str] = TypeAdapter(SiteName)
_PERSON: TypeAdapter[str] = TypeAdapter(PersonName)


@dataclass(frozen=True)
class Manifest:
    """What a submitter states of a job.

    Attributes:
        job: the job's name.
        purpose: the purpose of use that it states.
        files: hexadecimal SHA-256 of each file of both apps by its path inside the job's folder.
        sites: who is asked, sorted.
        submitter: who submits it; must be who signs.
        nonce: 32 hexadecimal digits, different in every submission.
        not_before: whole seconds since 1970-01-01 UTC; it counts for nothing earlier.
        expires: whole seconds since 1970-01-01 UTC; it counts for nothing from then on.
        code: hexadecimal SHA-256 of the training code, the digest of `CODE_PATH` in ``files``; None where the job
            brings none.

    Raises:
        ValueError: where a rule of this module is broken.
    """

    job: str
    purpose: str
    files: Mapping[str, str]
    sites: tuple[str, ...]
    submitter: str
    nonce: str
    not_before: int
    expires: int
    code: str | None = None

    def __post_init__(self) -> None:
        _check_names(self)
        if not 0 < len(self.files) <= MAXIMUM_FILES:
            raise ValueError("lists no file, or more than a job may have")
        if not all(_PATH.fullmatch(path) and _SHA256.fullmatch(digest) for path, digest in self.files.items()):
            raise ValueError("lists a file with no plain path or no digest")
        documents = {digest for path, digest in self.files.items() if path.endswith(f"/{DOCUMENT}")}
        if len(documents) > 1:  # a site would judge one, and the server do another
            raise ValueError("lists two job documents that differ")
        if self.code != self.files.get(CODE_PATH):
            raise ValueError("names other training code than it lists")
        if not _NONCE.fullmatch(self.nonce):
            raise ValueError(f"has a nonce that is not {8 * NONCE_BYTES} bits")
        if not 0 <= self.not_before < self.expires < _LATEST_SECONDS:
            raise ValueError("ends before it begins")
        if self.expires - self.not_before > MAXIMUM_LIFETIME.total_seconds():
            raise ValueError(f"is valid for longer than {MAXIMUM_LIFETIME.days} days")
        object.__setattr__(self, "files", MappingProxyType({path: self.files[path] for path in sorted(self.files)}))

    @classmethod
    def of(
        cls,
        job: Job,
        files: Mapping[str, bytes],
        *,
        sites: Iterable[str],
        submitter: str,
        now: datetime,
        lifetime: timedelta,
    ) -> Self:
        """A new manifest of a job that is about to be submitted, with a nonce of its own.

        Args:
            job: the job document.
            files: content of each file of both apps by its path inside the job's folder.
            sites: who is asked, in any order.
            submitter: who will sign.
            now: aware time from which it counts.
            lifetime: for how long.
        """
        digests = {path: sha256_of(content) for path, content in files.items()}
        begin = int(now.timestamp())
        return cls(
            job=job.job,
            purpose=job.purpose,
            files=digests,
            sites=tuple(sorted(sites)),
            submitter=submitter,
            nonce=secrets.token_hex(NONCE_BYTES),
            not_before=begin,
            expires=begin + int(lifetime.total_seconds()),
            code=digests.get(CODE_PATH),
        )

    def to_bytes(self) -> bytes:
        """The one spelling: canonical JSON with exactly this class's keys."""
        value = {each.name: getattr(self, each.name) for each in fields(self)}
        return canonical_json(value | {"files": dict(self.files), "sites": list(self.sites)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what `to_bytes` wrote, and nothing else.

        Raises:
            DeniedError: where ``content`` is spelled otherwise or breaks a rule of this module.
        """
        if len(content) > _MAXIMUM_BYTES:
            raise DeniedError("the job's manifest is larger than one may be")
        try:
            value = json.loads(content)
            if not isinstance(value, dict) or value.keys() != {each.name for each in fields(cls)}:
                raise ValueError("has other keys than a manifest has")
            manifest = cls(**_typed(value))
        except RecursionError as error:
            raise DeniedError("the job's manifest is nested too deep") from error
        except json.JSONDecodeError as error:
            raise DeniedError("the job's manifest is not JSON") from error
        except UnicodeDecodeError as error:
            raise DeniedError("the job's manifest is not UTF-8 text") from error
        except ValueError as error:
            raise DeniedError(f"the job's manifest {error}") from error
        if manifest.to_bytes() != content:
            raise DeniedError("the job's manifest is not spelled canonically")
        return manifest

    def of_app(self, app: str) -> dict[str, str]:
        """The digests of the files of ``app`` by their path inside it."""
        prefix = f"{app}/"
        return {path.removeprefix(prefix): digest for path, digest in self.files.items() if path.startswith(prefix)}


def _check_names(manifest: Manifest) -> None:
    try:
        _WORD.validate_python(manifest.job, strict=True)
        _WORD.validate_python(manifest.purpose, strict=True)
        _PERSON.validate_python(manifest.submitter, strict=True)
        for site in manifest.sites:
            _SITE.validate_python(site, strict=True)
    except ValidationError as error:
        raise ValueError("names its job, purpose, submitter or a site by no such name") from error
    if not manifest.sites or list(manifest.sites) != sorted(set(manifest.sites)):
        raise ValueError("names no site, one twice, or not in order")


def _typed(value: dict[str, Any]) -> dict[str, Any]:
    """``value`` with lists as tuples, if every part is of the kind that it should be."""
    files, sites = value["files"], value["sites"]
    sound = (
        all(isinstance(value[key], str) for key in ("job", "purpose", "submitter", "nonce"))
        and all(type(value[key]) is int for key in ("not_before", "expires"))
        and (value["code"] is None or isinstance(value["code"], str))
        and isinstance(files, dict)
        and all(isinstance(digest, str) for digest in files.values())
        and isinstance(sites, list)
        and all(isinstance(site, str) for site in sites)
    )
    if not sound:
        raise ValueError("has a value of another kind than it should be")
    return value | {"sites": tuple(sites)}
