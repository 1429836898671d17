# SPDX-License-Identifier: Apache-2.0
"""The kit with which a participant joins: one ZIP file, signed by the authority over every file, without a secret.

It holds the participant's certificate, the authorities, the roster, and of the documents what the participant may lack.
`kit.json` is an envelope that lists the SHA-256 of each. Who joins learns the authority's fingerprint by another way;
everything else follows from that.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from cryptography import x509

from cloister.certificates import Identity, pem
from cloister.certificates.identity import Kind
from cloister.envelope import seal, unseal
from cloister.errors import ProvisioningError, SignatureError
from cloister.files import canonical_json, sha256_of
from cloister.provisioning.authority import Authority

KIND = "application/vnd.cloister.kit+json"
MANIFEST = "kit.json"
CERTIFICATE, ROSTER_IN_KIT = "certificate.pem", "roster.json"
DOCUMENTS = ("policies/baseline.yaml", "policies/baseline.yaml.sig")
"""Documents that a kit may bring, beside the roster that is a document itself."""

MAXIMUM_BYTES = 8 << 20
_KEYS = {"federation", "files", "kind", "made_at", "name"}
_KNOWN = frozenset({MANIFEST, CERTIFICATE, ROSTER_IN_KIT, *DOCUMENTS})
_KINDS: tuple[Kind, ...] = ("server", "site", "person")
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class KitArchive:
    """A kit whose signature fits, over each of its files.

    Attributes:
        federation: the federation's name.
        name: whose it is.
        kind: what it is.
        root: certificate of the authority that signed it.
        files: content by name, without the manifest.
    """

    federation: str
    name: str
    kind: Kind
    root: x509.Certificate
    files: Mapping[str, bytes]


def make_archive(
    authority: Authority, identity: Identity, files: Mapping[str, bytes], federation: str, now: datetime
) -> bytes:
    """The kit of ``identity``; the same input gives the same bytes but for the signature.

    Args:
        authority: with its keys.
        identity: whose it is.
        files: content by name; of those names that a kit may hold.
        federation: the federation's name.
        now: aware time.
    """
    if unknown := sorted(files.keys() - _KNOWN):
        raise ProvisioningError(f"a kit holds no `{unknown[0]}`")
    statement = {
        "federation": federation,
        "name": identity.name,
        "kind": identity.kind,
        "made_at": int(now.timestamp()),
        "files": {name: sha256_of(content) for name, content in files.items()},
    }
    manifest = seal(KIND, canonical_json(statement), authority.key_of(authority.stating), authority.stating)
    stream = io.BytesIO()
    with ZipFile(stream, "w") as archive:
        for name, content in sorted({**files, MANIFEST: manifest}.items()):
            entry = ZipInfo(name, _EPOCH)
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, content)
    return stream.getvalue()


def read_archive(content: bytes, fingerprint: str) -> KitArchive:
    """The kit in ``content``, if the authority with this fingerprint signed every file in it.

    Args:
        content: of the ZIP file.
        fingerprint: SHA-256 of the authority's certificate, learnt by another way; hexadecimal, colons and spaces and
            the case of letters do not matter.

    Raises:
        ProvisioningError: where it is no kit, or not one of this authority.
    """
    files = _unpacked(content)
    if MANIFEST not in files:
        raise ProvisioningError(f"the kit has no `{MANIFEST}`")
    try:
        envelope = unseal(KIND, files.pop(MANIFEST))
        stated = envelope.value()
    except SignatureError as error:
        raise ProvisioningError(f"the kit is not signed as one is: {error.message}") from error
    said = "".join(fingerprint.lower().replace(":", "").split())
    if len(said) != 64 or pem.fingerprint(envelope.certificate) != said:
        hint = "compare the fingerprint with the authority's people by telephone; a kit with another one is forged"
        raise ProvisioningError("the kit was signed by an authority that has another fingerprint", hint=hint)
    if stated.keys() != _KEYS or stated["kind"] not in _KINDS or not isinstance(stated["files"], dict):
        raise ProvisioningError("the kit's statement does not say what one says")
    if stated["files"] != {name: sha256_of(each) for name, each in files.items()}:
        raise ProvisioningError("the kit's files are not those that the authority signed", hint="have it sent again")
    for needed in (CERTIFICATE, ROSTER_IN_KIT):
        if needed not in files:
            raise ProvisioningError(f"the kit has no `{needed}`")
    return KitArchive(str(stated["federation"]), str(stated["name"]), stated["kind"], envelope.certificate, files)


def fingerprint_in(content: bytes) -> str:
    """The fingerprint that the authority of a kit claims, for people to compare; nothing is proven by it."""
    try:
        value = json.loads(_unpacked(content)[MANIFEST])
        return pem.fingerprint(pem.parse_certificate(value["signatures"][0]["cert"].encode(), "certificate"))
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ProvisioningError("the kit names no authority") from error


def _unpacked(content: bytes) -> dict[str, bytes]:
    if len(content) > MAXIMUM_BYTES:
        raise ProvisioningError(f"the kit is larger than {MAXIMUM_BYTES >> 20} MiB")
    files: dict[str, bytes] = {}
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if len(entries) > len(_KNOWN) or sum(entry.file_size for entry in entries) > MAXIMUM_BYTES:
                raise ProvisioningError("the kit holds more than a kit does")
            for entry in entries:
                if entry.filename not in _KNOWN or entry.filename in files:
                    raise ProvisioningError("the kit holds a file that no kit does, or one twice")
                # Nothing in a kit is compressed, and `zipfile` inflates all of an entry, whatever size that declares.
                if entry.compress_type != ZIP_STORED or entry.compress_size != entry.file_size:
                    raise ProvisioningError("the kit holds a compressed file, and no kit does")
                files[entry.filename] = archive.read(entry)
    except (BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError, EOFError) as error:
        raise ProvisioningError("the kit is not a ZIP archive that can be read") from error
    except Exception as error:
        if isinstance(error, ProvisioningError):
            raise
        raise ProvisioningError("the kit cannot be unpacked") from error
    return files
