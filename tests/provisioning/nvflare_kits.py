# SPDX-License-Identifier: Apache-2.0
"""Start-up kits as NVFlare's own `provision` makes them, and old certificates of every kind that should not count."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


def nvflare_kits(project: str, workspace: Path) -> Path:
    """Provision ``project`` with NVFlare itself; the folder with a kit for each participant."""
    from nvflare.lighter.prov_utils import prepare_builders
    from nvflare.lighter.provision import prepare_project
    from nvflare.lighter.provisioner import Provisioner

    tree = yaml.safe_load(project)
    with contextlib.redirect_stdout(io.StringIO()):
        Provisioner(str(workspace), prepare_builders(tree)).provision(prepare_project(tree))
    return workspace / tree["name"] / "prod_00"


@dataclass
class OldProject:
    """An authority as NVFlare makes it, and certificates of it that NVFlare would and would not make."""

    now: datetime
    key: Any = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def root(self, **changes: Any) -> x509.Certificate:
        return self.certificate("old_project", key=self.key, authority=True, **changes)

    def certificate(
        self,
        name: str,
        *,
        key: Any,
        organisation: str | None = "tud",
        role: str | None = None,
        authority: bool = False,
        days: tuple[int, int] = (-10, 350),
        digest: Any = None,
        signer: Any = None,
        issuer: str = "old_project",
        names: int = 1,
    ) -> x509.Certificate:
        """A certificate for ``name``, signed by the project's key where no ``signer`` is given."""
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, name) for _ in range(names)]
        if organisation:
            parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
        if role:
            parts.append(x509.NameAttribute(NameOID.UNSTRUCTURED_NAME, role))
        if authority:
            parts = parts[:1]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(parts))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now + timedelta(days=days[0]))
            .not_valid_after(self.now + timedelta(days=days[1]))
        )
        if authority:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        return builder.sign(signer or self.key, digest or hashes.SHA256())


def write_kit(startup: Path, key: Any, certificate: x509.Certificate, stem: str = "client") -> Path:
    """Key and certificate as NVFlare lays them into a kit."""
    startup.mkdir(parents=True, exist_ok=True)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    if isinstance(key, ec.EllipticCurvePrivateKey):
        form = serialization.PrivateFormat.PKCS8
    content = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (startup / f"{stem}.key").write_bytes(content)
    (startup / f"{stem}.key").chmod(0o600)
    (startup / f"{stem}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return startup
