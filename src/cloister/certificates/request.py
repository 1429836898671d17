# SPDX-License-Identifier: Apache-2.0
"""Certificate signing requests (RFC 2986), which are strangers' words.

A request is believed in one thing alone: that its sender holds the private key. It may name what the roster grants, or
leave it out; a request that asks for anything else is refused rather than cut down, because somebody is mistaken about
who they are.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from cloister.certificates import keys, pem, profile
from cloister.certificates.identity import Identity
from cloister.errors import ProvisioningError

_SHOWN_CHARACTERS = 64


def requested_name(request_pem: bytes) -> str:
    """The one common name that the request gives.

    Raises:
        ProvisioningError: if it is no request, its signature is bad, or it gives no name or several.
    """
    return _name(parse_request(request_pem))


def verified_key(request_pem: bytes, identity: Identity) -> rsa.RSAPublicKey:
    """The public key of a request that ``identity`` may make.

    Raises:
        ProvisioningError: if the request is malformed, not signed by its own key, for a weak key, or asks for a name,
            a role, an authority or any other extension that the roster does not grant.
    """
    request = parse_request(request_pem)
    name = identity.name
    if (asked := _name(request)) != name:
        raise ProvisioningError(f"the request is for `{_shown(asked)}` and not for `{name}`")
    granted = {(each.oid, each.value) for each in profile.subject(identity)}
    for attribute in request.subject:
        if (attribute.oid, attribute.value) not in granted:
            what = f"`{attribute.rfc4514_attribute_name}={_shown(str(attribute.value))}`"
            hint = "correct the roster or the request; certificates are signed from the roster alone"
            raise ProvisioningError(
                f"the request of `{name}` asks for {what}, which the roster does not say", hint=hint
            )
    _refuse_extensions(request, identity)
    key = request.public_key()
    fault = keys.weakness(key)
    if fault or not isinstance(key, rsa.RSAPublicKey):
        raise ProvisioningError(f"the key in the request of `{name}` {fault}")
    return key


def _refuse_extensions(request: x509.CertificateSigningRequest, identity: Identity) -> None:
    granted = {value.oid: value for value, _ in profile.leaf_extensions(identity)}
    for asked in request.extensions:
        if isinstance(asked.value, x509.BasicConstraints) and asked.value.ca:
            raise ProvisioningError(f"the request of `{identity.name}` asks to be an authority")
        if granted.get(asked.oid) != asked.value:
            what = f"the extension `{profile.word(asked.oid)}` as the roster does not grant it"
            hint = "a request needs no extensions; leave them out"
            raise ProvisioningError(f"the request of `{identity.name}` asks for {what}", hint=hint)


def parse_request(request_pem: bytes) -> x509.CertificateSigningRequest:
    """The request, if it is whole and signed by the key that it carries.

    Raises:
        ProvisioningError: where it is not.
    """
    if len(request_pem) > pem.MAXIMUM_BYTES:
        raise ProvisioningError(f"the request is larger than {pem.MAXIMUM_BYTES // 1024} KiB")
    try:
        request = x509.load_pem_x509_csr(request_pem)
        # Proof of possession (RFC 4211, appendix C): whoever signed this holds the private key.
        held = request.is_signature_valid
        _ = request.subject, request.extensions, request.public_key()
    except Exception as error:
        raise ProvisioningError("the request is not a certificate signing request in PEM form") from error
    if not held:
        raise ProvisioningError("the request is not signed by the key that it carries")
    return request


def _name(request: x509.CertificateSigningRequest) -> str:
    names = [str(each.value) for each in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(names) != 1:
        raise ProvisioningError(f"the request gives {len(names)} common names instead of one")
    return names[0]


def _shown(text: str) -> str:
    """A stranger's text, short and without control characters, for a terminal."""
    printable = text if text.isprintable() else ascii(text)[1:-1]
    return printable[:_SHOWN_CHARACTERS]
