# SPDX-License-Identifier: Apache-2.0
"""A folder, or a file, of FHIR resources, read one resource at a time.

1. `.ndjson` and `.ndjson.gz` files hold one resource per line, as bulk exports write them
   (https://hl7.org/fhir/uv/bulkdata/export.html); `.json` files hold a bundle. Other files of a folder, those whose
   names begin with a dot, and folders inside it are not read.
2. What cannot be taken apart refuses the whole: not UTF-8, not JSON, cut off, nested too deeply, too long. The sentence
   names the file and the line or entry.
3. Synthea names a file after its patient. So a file is named in a message only where it bears the name of a resource,
   as those of bulk exports do, or stands in the silo document; any other by its number, in the order of the names.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from cloister.errors import RecordsError
from cloister.records.fhir.bundle import NotABundleError, entries
from cloister.records.fhir.element_types import is_resource_type
from cloister.records.fhir.json_text import MAXIMUM_RESOURCE_CHARACTERS, NotFhirJsonError, read_json, too_long
from cloister.records.fhir.path import Resource
from cloister.records.interface import require_inside

_ENDINGS = (".ndjson", ".ndjson.gz", ".json")
_EXPORT = re.compile(r"[0-9._-]*([A-Za-z]+)[0-9._-]*\.ndjson(\.gz)?")

# Exports shrink to a thirtieth or so; gzip could make a thousandth of nothing much (https://zlib.net/zlib_tech.html).
_LARGEST_RATIO = 100
_FREE_BYTES = 16 << 20
_MOST_BLANK_LINES = 1000


class Item(NamedTuple):
    """One resource as a file holds it.

    Attributes:
        resource: as JSON gives it; its `resourceType` is one of FHIR's.
        full_url: the address by which others in a bundle may refer to it.
        where: file and line or entry, for messages.
    """

    resource: Resource
    full_url: str | None
    where: Place


@dataclass(frozen=True)
class Place:
    """Where something stands, in words: `line 5 of `fhir/Patient.ndjson``."""

    file: str
    unit: str
    number: int

    def __str__(self) -> str:
        return f"{self.unit} {self.number} of {self.file}"

    def refusal(self, what: str, hint: str = "") -> RecordsError:
        """The refusal of the store because of what stands here."""
        return RecordsError(f"{self} {what}", hint=hint)


def files_of(path: Path, shown: str) -> list[tuple[Path, str]]:
    """The files to read, each with its name for messages, in the order of their names.

    Raises:
        RecordsError: where there are none.
    """
    hint = f"bulk exports end in {_ENDINGS[0]} or {_ENDINGS[1]}, bundles in {_ENDINGS[2]}"
    try:
        if not path.is_dir():
            if not path.exists():
                raise _absent(f"`{shown}`")
            if not (path.is_file() and path.name.endswith(_ENDINGS)):
                raise RecordsError(f"`{shown}` is neither a folder nor a file of FHIR's", hint=hint)
            return [(path, f"`{shown}`")]
        found = sorted(
            each
            for each in path.iterdir()
            if each.name.endswith(_ENDINGS) and not each.name.startswith(".") and each.is_file()
        )
    except OSError as error:
        reason = (error.strerror or "no reason given").lower()
        raise RecordsError(f"`{shown}` cannot be opened: {reason}") from error
    if not found:
        raise RecordsError(f"the folder `{shown}` holds no FHIR records", hint=hint)
    files = [(each, _named(each, shown, number, len(found))) for number, each in enumerate(found, 1)]
    for each, named in files:
        require_inside(each, path, named)
    return files


def _named(path: Path, shown: str, number: int, count: int) -> str:
    export = _EXPORT.fullmatch(path.name)
    if export and is_resource_type(export[1]):
        return f"`{shown.rstrip('/')}/{path.name}`"
    return f"file {number} of {count} in `{shown}`"


def items_of(path: Path, named: str) -> Iterator[Item]:
    """The resources of one file.

    Args:
        path: the file.
        named: its name for messages.

    Raises:
        RecordsError: where the file is not what it should be.
    """
    with _opened(path, named) as stream:
        if path.name.endswith(".json"):
            yield from _bundle(stream, named)
        elif path.name.endswith(".gz"):
            yield from _lines(stream, named, _FREE_BYTES + _LARGEST_RATIO * path.stat().st_size)
        else:
            yield from _lines(stream, named)


def _lines(stream: BinaryIO, named: str, most_bytes: float = math.inf) -> Iterator[Item]:
    number = blank = held = 0
    while line := stream.readline(MAXIMUM_RESOURCE_CHARACTERS + 1):
        number += 1
        held += len(line)
        place = Place(named, "line", number)
        if held > most_bytes:
            raise place.refusal(f"is where the file unpacks to {_LARGEST_RATIO} times its size", "export it again")
        if line.isspace():
            blank += 1
            if blank > _MOST_BLANK_LINES:
                raise place.refusal(f"is the {blank}th blank one", "export it again")
            continue
        try:
            if len(line) > MAXIMUM_RESOURCE_CHARACTERS:
                raise too_long()
            value = read_json(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except NotFhirJsonError as error:
            raise place.refusal(str(error), "export it again") from None
        except UnicodeDecodeError:
            raise place.refusal("is not UTF-8", "export it again as UTF-8") from None
        yield Item(_checked(value, place), None, place)


def _bundle(stream: BinaryIO, named: str) -> Iterator[Item]:
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    place = Place(named, "entry", 1)
    try:
        for number, entry in enumerate(entries(text.read), 1):
            place = Place(named, "entry", number)
            if not isinstance(entry, dict) or "resource" not in entry:
                raise place.refusal("holds no resource", "bundles here are of records, not of orders to delete any")
            full_url = entry.get("fullUrl")
            yield Item(_checked(entry["resource"], place), full_url if isinstance(full_url, str) else None, place)
            place = Place(named, "entry", number + 1)
    except NotABundleError as error:
        hint = "files that end in .json are bundles; move others elsewhere"
        raise RecordsError(f"{named} {error}", hint=hint) from None
    except NotFhirJsonError as error:
        raise place.refusal(str(error), "export it again") from None
    except UnicodeDecodeError:
        raise RecordsError(
            f"{named} is not UTF-8 in or behind entry {place.number}", hint="export it again as UTF-8"
        ) from None


def _checked(value: Any, place: Place) -> Resource:
    if not isinstance(value, dict):
        raise place.refusal("is no FHIR resource", "a resource is a JSON object")
    kind = value.get("resourceType")
    if not isinstance(kind, str) or not is_resource_type(kind):
        raise place.refusal("is of no resource type that FHIR R4 knows")
    if kind == "Bundle":
        raise place.refusal("is a bundle inside another file", "one bundle is one file that ends in .json")
    return value


@contextmanager
def _opened(path: Path, named: str) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as stream:
            if not stream.read(1):
                raise RecordsError(f"{named} is an empty file", hint="export it again")
            stream.seek(0)
            if path.name.endswith(".gz"):
                with gzip.GzipFile(fileobj=stream, mode="rb") as unpacked:
                    yield cast("BinaryIO", unpacked)
            else:
                yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise RecordsError(f"{named} is no whole gzip file", hint="it is cut off or damaged; export it again") from None
    except FileNotFoundError:
        raise _absent(named) from None
    except OSError as error:
        raise RecordsError(f"{named} cannot be read: {(error.strerror or 'no reason given').lower()}") from error


def _absent(named: str) -> RecordsError:
    return RecordsError(f"{named} does not exist", hint="paths in a silo document start at the federation's folder")
