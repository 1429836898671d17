# SPDX-License-Identifier: Apache-2.0
"""Keys, builders and packagers of a project file that have no counterpart here, each with the reason.

A builder that is not listed is refused by name: what it made, nobody here knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_NO_HA = "there is one server: NVFlare gave up high availability in 2.8"
_CONFIDENTIAL = "confidential computing is not set up by the documents; what it attested is not attested here"
_CODE = "jobs carry no code; training code is approved by digest, at each site (docs/custom-code.md)"
_CONFIGURATION = "Cloister writes NVFlare's configuration by itself, and compares it before every start"
_IMAGE = "images and charts are made by `cloister deploy`, from the documents"
_ONE_CONNECTION = "every site dials the server itself, at `server.host` of the roster"
_MUTUAL_TLS = "connections are mutual TLS from end to end, always; a proxy in between must not open them"
_ROOT = "the federation's own authority is the only one that is trusted"

PARTICIPANT_KEYS: Mapping[str, str] = {
    "admin_port": "people and sites use one port, `server.port`; close the other one",
    "allow_log_streaming": "a site's log is never sent to the server",
    "api_root": _NO_HA,
    "auth_identity": "everybody is known by the common name in their certificate, and by no other",
    "capacity": "what a job may use of a site stands in `capacity` of its silo document: GiB, processes, threads",
    "cc_config": _CONFIDENTIAL,
    "cc_config_dict": _CONFIDENTIAL,
    "cc_enabled": _CONFIDENTIAL,
    "cc_issuers": _CONFIDENTIAL,
    "components": _CONFIGURATION,
    "connect_to": f"{_ONE_CONNECTION}; where that name does not resolve, give it there the address that does",
    "connection_security": _MUTUAL_TLS,
    "custom_ca_cert": _ROOT,
    "description": "the roster has names, organisations and roles, and no descriptions",
    "edge_service_port": "there are no devices below a site",
    "enable_byoc": _CODE,
    "listening_host": "nobody dials a site; a trainer has no network at all",
    "parent": "sites are not arranged in a tree; each answers the server",
    "port": _NO_HA,
    "protocol": _NO_HA,
    "use_aio": "how messages are sent is settled: gRPC",
}
"""Of participants, and of the project where participants ask it; with why they are dropped."""

RELAY = "there are no relays; its clients are kept and dial the server themselves, so let them through to `server.port`"
OVERSEER = _NO_HA
SECOND_SERVER = f"{_NO_HA}; the first server in the file is the one that is kept"
BUILDERS = "what is made of the documents is settled, and no document names a Python class"
STUDIES = (
    "there are no studies: each site's own policy says who may train on what (`submitters`, `datasets`, `purposes`)"
)


@dataclass(frozen=True)
class Known:
    """A class that NVFlare's releases bring.

    Attributes:
        why: what stands in its place.
        arguments: what it takes, with what stands in the place of each; None where all are dropped with it.
    """

    why: str
    arguments: Mapping[str, str] | None = field(default_factory=dict)


_HE = "updates are not encrypted homomorphically; NVFlare gives all clients one secret key for it"
_POC = "made kits for trials on one machine; `cloister up` runs a whole federation on one"
_POLICIES = "rights follow from the role in the roster, and what is trained from each site's policy"
_MACHINE = "no cloud scripts are made; see `cloister deploy`"

KNOWN: Mapping[str, Known] = {
    "nvflare.lighter.impl.workspace.WorkspaceBuilder": Known(
        "kits lie in `.cloister/`, one for each participant, and are not numbered",
        {"template_file": _CONFIGURATION},
    ),
    "nvflare.lighter.impl.workspace.DistributionBuilder": Known(
        "kits hold no secret, so they need no password; see `cloister authority approve`",
        {"zip_password": "a kit holds no secret"},
    ),
    "nvflare.lighter.impl.template.TemplateBuilder": Known(_CONFIGURATION),
    "nvflare.lighter.impl.static_file.StaticFileBuilder": Known(
        _CONFIGURATION,
        {
            "app_validator": "what a job may bring is fixed, and checked at each site before it is unpacked",
            "components": _CONFIGURATION,
            "config_folder": _CONFIGURATION,
            "docker_image": _IMAGE,
            "download_job_url": "jobs come over the federation's own connection",
            "enable_byoc": _CODE,
            "overseer_agent": _NO_HA,
            "require_signed_jobs": "every job is signed, over the whole of it, and each site verifies that",
            "scheme": "connections are gRPC over mutual TLS",
            "snapshot_persistor": "each round's state is kept by the server itself",
        },
    ),
    "nvflare.lighter.impl.cert.CertBuilder": Known(
        "keys are made where they are used, and certificates by `cloister provision` or `cloister authority approve`",
        {"root_valid_days": ""},  # kept, as `authority.valid_days`
    ),
    "nvflare.lighter.impl.signature.SignatureBuilder": Known(
        "each process compares its kit with the documents before it starts, which no list of signatures makes it do"
    ),
    "nvflare.lighter.impl.he.HEBuilder": Known(
        _HE, {"poly_modulus_degree": _HE, "coeff_mod_bit_sizes": _HE, "scale_bits": _HE, "scheme": _HE}
    ),
    "nvflare.lighter.impl.docker.DockerBuilder": Known(_IMAGE, {"base_image": _IMAGE, "requirements_file": _IMAGE}),
    "nvflare.lighter.impl.docker_launcher.DockerLauncherBuilder": Known(_IMAGE, None),
    "nvflare.lighter.impl.helm_chart.HelmChartBuilder": Known(_IMAGE, None),
    "nvflare.lighter.impl.auth_policy.AuthPolicyBuilder": Known(_POLICIES, None),
    "nvflare.lighter.impl.aws.AWSBuilder": Known(_MACHINE),
    "nvflare.lighter.impl.azure.AzureBuilder": Known(_MACHINE),
    "nvflare.lighter.impl.edge.EdgeBuilder": Known("there are no devices below a site"),
    "nvflare.lighter.impl.local_cert.LocalCertBuilder": Known(_POC, None),
    "nvflare.lighter.impl.local_static_file.LocalStaticFileBuilder": Known(_POC, None),
    "nvflare.lighter.cc_provision.impl.cc.CCBuilder": Known(_CONFIDENTIAL, {"cc_mgr_id": _CONFIDENTIAL}),
    "nvflare.lighter.cc_provision.impl.azure.AzureSimpleBuilder": Known(_CONFIDENTIAL, None),
    "nvflare.lighter.cc_provision.impl.onprem_cvm.OnPremCVMBuilder": Known(_CONFIDENTIAL, None),
    "nvflare.lighter.cc_provision.impl.onprem_packager.OnPremPackager": Known(
        _CONFIDENTIAL, {"cc_config_key": _CONFIDENTIAL, "build_image_cmd": _CONFIDENTIAL}
    ),
}
"""Builders and packagers of releases 2.1 to 2.9, by their class."""
