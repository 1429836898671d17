# SPDX-License-Identifier: Apache-2.0
"""The container image that a server and a site share, and the filter of system calls that a site's container needs."""

from __future__ import annotations

import importlib.resources

UID = 10001
"""User, and group, of the processes in a container."""

ENTRYPOINT_FOLDER = "/srv/cloister"
"""The federation's folder in a container."""


def dockerfile(version: str) -> str:
    """The image: Python, bubblewrap, Cloister, and no shell script.

    Args:
        version: of Cloister, whose wheel lies in `wheels/` beside the file.
    """
    return f"""\
# Made by `cloister deploy`; do not edit.
#
# Before the first build, put Cloister's wheel into the folder wheels/ beside this file:
#
#   pip wheel --no-deps --wheel-dir wheels /path/to/cloister
#
# For a build that is the same again, name the base image by its digest.

FROM python:3.12-slim-bookworm

# Versions are those of the base image's release of Debian, with its security updates.
# hadolint ignore=DL3008
RUN apt-get update \\
 && apt-get install --yes --no-install-recommends bubblewrap tini \\
 && rm -rf /var/lib/apt/lists/* \\
 && groupadd --gid {UID} cloister \\
 && useradd --uid {UID} --gid {UID} --home-dir /tmp --no-create-home --shell /usr/sbin/nologin cloister \\
 && mkdir --parents {ENTRYPOINT_FOLDER}

COPY wheels/ /wheels/
RUN pip install --no-cache-dir --no-compile --find-links /wheels cloister=={version} \\
 && rm -rf /wheels

ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 TMPDIR=/tmp
USER {UID}:{UID}
WORKDIR {ENTRYPOINT_FOLDER}

# The kernel spares process 1 the signals that it does not ask for; tini is there to take and pass them on.
ENTRYPOINT ["tini", "--", "cloister"]
"""


def seccomp_profile() -> str:
    """System calls that a site's container may make (https://docs.docker.com/engine/security/seccomp/).

    Those that programs need that are no administrators, as containers/common lists them, less what has often been the
    way out of a sandbox, and with what bubblewrap needs.
    """
    return data("seccomp.json")


def data(name: str) -> str:
    """A file that this package brings, as text."""
    return importlib.resources.files("cloister.deploy").joinpath("data", name).read_text(encoding="utf-8")
