# SPDX-License-Identifier: Apache-2.0
"""Project files as administrators of NVFlare deployments write them, and as they should not."""

from __future__ import annotations

from collections.abc import Mapping

BUILDERS = """\
builders:
  - path: nvflare.lighter.impl.workspace.WorkspaceBuilder
  - path: nvflare.lighter.impl.static_file.StaticFileBuilder
    args:
      config_folder: config
  - path: nvflare.lighter.impl.cert.CertBuilder
  - path: nvflare.lighter.impl.signature.SignatureBuilder
"""

PLAIN = f"""\
api_version: 3
name: example_project
description: NVIDIA FLARE sample project yaml file

participants:
  - name: server1
    type: server
    org: nvidia
    fed_learn_port: 8002
  - name: site-1
    type: client
    org: nvidia
  - name: site-2
    type: client
    org: nvidia
  - name: admin@nvidia.com
    type: admin
    org: nvidia
    role: project_admin
  - name: lead@nvidia.com
    type: admin
    org: nvidia
    role: lead

{BUILDERS}"""


def with_server(lines: str) -> str:
    """The plain project whose server has more lines."""
    return PLAIN.replace("    fed_learn_port: 8002\n", f"    fed_learn_port: 8002\n{lines}")


def with_client(lines: str) -> str:
    """The plain project whose first client has more lines."""
    first = "  - name: site-1\n    type: client\n    org: nvidia\n"
    return PLAIN.replace(first, first + lines)


def with_participant(lines: str) -> str:
    """The plain project with one participant more."""
    return PLAIN.replace("\nbuilders:", f"{lines}\nbuilders:")


def with_builder(lines: str) -> str:
    """The plain project with one builder more."""
    return PLAIN + lines


ACCEPTED: Mapping[str, str] = {
    "as NVFlare 2.9 writes it": PLAIN,
    "studies of API version 4": PLAIN.replace("api_version: 3", "api_version: 4")
    + """\
studies:
  cancer-research:
    site_orgs:
      nvidia:
        - site-1
        - site-2
    admins:
      - lead@nvidia.com
  multiple_sclerosis:
  flu:
    site_orgs: {nvidia: [site-2]}
""",
    "relays between server and clients": with_client(
        "    connect_to:\n      name: relay-1\n      host: relay.example.com\n      port: 8102\n"
        "      connection_security: tls\n"
    ).replace(
        "  - name: admin@nvidia.com",
        """\
  - name: relay-1
    type: relay
    org: nvidia
    listening_host:
      scheme: grpc
      default_host: relay.example.com
      host_names: [relay1, 10.0.0.7]
      port: 8102
      connection_security: mtls
  - name: relay-2
    type: relay
    org: nvidia
    connect_to: {name: relay-1}
    listening_host: {port: 8103}
  - name: admin@nvidia.com""",
    ),
    "enable_byoc and components of the first releases": with_client(
        "    enable_byoc: true\n    components:\n      resource_manager:\n        path: nvflare.app_common.X\n"
        "        args: {gpus: 4}\n"
    ),
    "one host name as a word": with_server(
        "    host_names: fl.example.com\n    default_host: fl.hospital.example.com\n"
    ),
    "host names as a list": with_server(
        "    host_names:\n      - fl.example.com\n      - 192.168.1.10\n      - server1\n"
    ),
    "everything that a client may say": with_client(
        """\
    listening_host: site-1-lh
    connection_security: tls
    custom_ca_cert: /etc/ssl/hospital.pem
    auth_identity: site-1.hospital
    capacity:
      num_of_gpus: 4
      mem_per_gpu_in_GiB: 16
    allow_log_streaming: false
    use_aio: true
    parent: site-2
    edge_service_port: 8104
"""
    ),
    "what the project says for everybody": PLAIN.replace(
        "participants:", "connection_security: mtls\nallow_log_streaming: true\ncustom_ca_cert: ca.pem\n\nparticipants:"
    ),
    "confidential computing": with_client("    cc_config: cc_site-1.yml\n")
    + """\
  - path: nvflare.lighter.cc_provision.impl.cc.CCBuilder
    args:
      cc_mgr_id: cc_manager
packager:
  path: nvflare.lighter.cc_provision.impl.onprem_packager.OnPremPackager
  args:
    build_image_cmd: ~/nvflare/cvm_build.sh
""",
    "homomorphic encryption, containers and clouds": PLAIN
    + """\
  - path: nvflare.lighter.impl.he.HEBuilder
    args:
      poly_modulus_degree: 8192
      coeff_mod_bit_sizes: [60, 40, 40]
      scale_bits: 40
      scheme: CKKS
  - path: nvflare.lighter.impl.docker.DockerBuilder
    args:
      base_image: python:3.10
      requirements_file: requirements.txt
  - path: nvflare.lighter.impl.aws.AWSBuilder
  - path: nvflare.lighter.impl.azure.AzureBuilder
""",
    "a root that lasts ten years": PLAIN.replace(
        "CertBuilder\n", "CertBuilder\n    args:\n      root_valid_days: 3650\n"
    ),
    "a root that lasts for ever": PLAIN.replace(
        "CertBuilder\n", "CertBuilder\n    args:\n      root_valid_days: 99999\n"
    ),
    "names with capitals and underscores": PLAIN.replace("site-1", "St_Marys_Hospital")
    .replace("server1", "FL.Hospital.Example.COM")
    .replace("admin@nvidia.com", "Ada.Lovelace@Nvidia.COM")
    .replace("org: nvidia", "org: Nvidia_Research"),
    "a role of the project's own, and none that should be": PLAIN.replace("role: lead", "role: data_steward").replace(
        "role: project_admin", "role: super"
    ),
    "no port and no builders": PLAIN.replace("    fed_learn_port: 8002\n", "").partition("builders:")[0],
    "an overseer that nobody asks": with_participant(
        """\
  - name: overseer.example.com
    type: overseer
    org: nvidia
    protocol: https
    api_root: /api/v1
    port: 8443
"""
    ),
    "a description of several lines, and comments with placeholders": PLAIN.replace(
        "description: NVIDIA FLARE sample project yaml file",
        "description: |\n  First line.\n\n  Second line, with # and: everything.\n"
        "# <fill this in>, {{ and_this }} and ${THAT}",
    ),
    "words in quotes and lists in one line": PLAIN.replace("name: site-1", 'name: "site-1"').replace(
        "  - name: lead@nvidia.com\n    type: admin\n    org: nvidia\n    role: lead\n",
        "  - {name: lead@nvidia.com, type: admin, org: nvidia, role: lead}\n",
    ),
}
"""Files that NVFlare 2.9 reads."""

OLDER: Mapping[str, str] = {
    "high availability with two servers": with_participant(
        """\
  - name: overseer
    type: overseer
    org: nvidia
    protocol: https
    api_root: /api/v1
    port: 8443
  - name: server2
    type: server
    org: nvidia
    fed_learn_port: 8102
    admin_port: 8103
"""
    ).replace(
        "      config_folder: config\n",
        """\
      config_folder: config
      scheme: http
      app_validator: hospital.validators.AppValidator
      download_job_url: http://download.server.com/
      docker_image: localhost:32000/nvfl-min:0.0.1
      snapshot_persistor: {path: a.B}
      components: {}
      overseer_agent:
        path: nvflare.ha.overseer_agent.HttpOverseerAgent
        overseer_exists: true
        args:
          sp_end_point: server1:8002:8003
""",
    ),
    "roles in a list, and a policy of groups": PLAIN.replace("role: lead", "roles:\n      - lead")
    + """\
  - path: nvflare.lighter.impl.template.TemplateBuilder
  - path: nvflare.lighter.impl.auth_policy.AuthPolicyBuilder
    args:
      orgs: {nvidia: [relaxed, general]}
      roles: {super: super user of system}
      groups: {relaxed: {desc: org group with relaxed policies}}
      disabled: false
  - path: nvflare.lighter.impl.workspace.DistributionBuilder
    args:
      zip_password: true
  - path: nvflare.lighter.impl.helm_chart.HelmChartBuilder
    args:
      docker_image: localhost:32000/nvfl-min:0.0.1
""",
}
"""Files that earlier releases read, and 2.9 does not."""

REFUSED: Mapping[str, tuple[str, int, str]] = {
    "a builder of somebody's own": (
        with_builder("  - path: hospital.provision.FirewallBuilder\n"),
        32,
        "the builder `hospital.provision.FirewallBuilder` is not one of NVFlare's own",
    ),
    "a packager of somebody's own": (
        PLAIN + "packager: {path: hospital.Packager}\n",
        32,
        "the packager `hospital.Packager` is not one of NVFlare's own",
    ),
    "a builder's argument that there is not": (
        PLAIN.replace("config_folder: config", "config_foldr: config"),
        29,
        "`StaticFileBuilder` takes no `config_foldr` (did you mean `config_folder`?)",
    ),
    "a key that there is not": (with_client("    lisening_host: x\n"), 13, "unknown key `lisening_host`"),
    "a key of the project that there is not": (PLAIN + "studys: {}\n", 32, "unknown key `studys`"),
    "a type that there is not": (PLAIN.replace("type: client", "type: clients", 1), 11, "`participants.type`"),
    "an earlier API": (PLAIN.replace("api_version: 3", "api_version: 2"), 1, "is 2; 3 and 4 are read"),
    "no API version": (PLAIN.replace("api_version: 3\n", ""), 1, "missing key `api_version`"),
    "devices that NVFlare makes up": (PLAIN + "edge: {depth: 2, width: 2}\n", 32, "`edge` has NVFlare make up"),
    "studies in API version 3": (PLAIN + "studies: {flu: {}}\n", 32, "`studies` needs `api_version: 4`"),
    "a study of a client that there is not": (
        PLAIN.replace("api_version: 3", "api_version: 4")
        + "studies:\n  flu:\n    site_orgs:\n      nvidia: [site-9]\n",
        35,
        "study `flu` names `site-9`, which is no client of `nvidia`",
    ),
    "a study of a person that there is not": (
        PLAIN.replace("api_version: 3", "api_version: 4") + "studies:\n  flu:\n    admins: [site-1]\n",
        34,
        "study `flu` names no admin `site-1`",
    ),
    "no server": (
        PLAIN.replace("type: server", "type: relay").replace("    fed_learn_port: 8002\n", ""),
        5,
        "names no server",
    ),
    "no client": (PLAIN.replace("type: client", "type: relay"), 5, "names no client"),
    "no admin": (PLAIN.partition("  - name: admin")[0] + BUILDERS, 5, "names no admin"),
    "two clients that would bear one name": (
        PLAIN.replace("site-2", "Site_1"),
        13,
        "the participant `Site_1` and `site-1` on line 10 would both be `site-1` here",
    ),
    "a name that stands twice": (
        PLAIN.replace("site-2", "site-1"),
        13,
        "`site-1` is the name of a participant on line 10 as well",
    ),
    "two organisations that would bear one name": (
        with_client("").replace("org: nvidia", "org: Nvidia", 1),
        12,
        "the organisation `nvidia` and `Nvidia` on line 8 would both be `nvidia` here",
    ),
    "a client by a word of NVFlare's": (
        PLAIN.replace("site-2", "simulator"),
        13,
        "the participant `simulator` cannot be called so here",
    ),
    "a name that is too long": (PLAIN.replace("site-2", "s" * 64), 13, "cannot be called so here"),
    "an organisation of no letters": (
        PLAIN.replace("org: nvidia", "org: __x", 1).replace("__x", "_"),
        8,
        "organisation `_`",
    ),
    "a mail address with a plus": (
        PLAIN.replace("lead@nvidia.com", "lead+fl@nvidia.com"),
        20,
        "the participant `lead+fl@nvidia.com` cannot be called so here",
    ),
    "an admin without a role": (
        PLAIN.replace("    role: lead\n", ""),
        20,
        "the admin `lead@nvidia.com` has no `role`",
    ),
    "an admin with two roles": (
        PLAIN.replace("role: lead", "roles: [lead, member]"),
        23,
        "has 2 roles, and a person here has one (say which one with --role lead@nvidia.com=ROLE)",
    ),
    "a port for root": (PLAIN.replace("8002", "443"), 9, "the server listens on port 443"),
    "a port that is none": (PLAIN.replace("8002", "90000"), 9, "fed_learn_port"),
    "a port in words": (PLAIN.replace("8002", "auto"), 9, "`participants.fed_learn_port` must be a whole number"),
    "a host that cannot be dialled": (
        with_server("    default_host: https://fl.example.com/\n"),
        10,
        "`https://fl.example.com/` is no host that a certificate could name",
    ),
    "days in words": (
        PLAIN.replace("CertBuilder\n", "CertBuilder\n    args: {root_valid_days: soon}\n"),
        31,
        "`root_valid_days` must be a whole number of days",
    ),
    "an anchor": (PLAIN.replace("org: nvidia", "org: &org nvidia", 1), 8, "uses a YAML anchor or alias"),
    "a key that stands twice": (with_client("    org: other\n"), 13, "duplicate key `org`"),
    "no YAML": (PLAIN.replace("participants:", "participants: ["), 6, "is not YAML"),
    "nothing at all": ("", 1, "is empty"),
}
"""Files that are refused: the line that is named, and some of the sentence."""

PLACEHOLDERS: Mapping[str, str] = {
    "{~~site~~}": "name: {~~site~~}",
    "<FQDN of the server>": "name: <FQDN of the server>",
    "${SITE}": "name: ${SITE}",
    "$SITE": "name: $SITE",
    "__SITE__": "name: __SITE__",
    "{{ site_name }}": "name: {{ site_name }}",
    "{{site}}": 'name: "{{site}}"',
    "{% if x %}": "name: a{% if x %}b",
}
"""What templates leave, by what is quoted of it."""
