# SPDX-License-Identifier: Apache-2.0
"""How a site's jobs are started, of all the ways that NVFlare 2.9 has: docs/adr/0015 says why only as processes."""

from __future__ import annotations

from cloister.errors import UsageError

PROCESS = "process"

_HINT = "leave --launcher out: the site's jobs run beside it, with its records, its policy and its sandbox"

_REASONS = {
    "docker": (
        "NVFlare's docker launcher gives the folder with the site's private key to a container whose image the job may "
        "choose, and needs the rights of the machine's administrator for it"
    ),
    "k8s": (
        "NVFlare's k8s launcher copies the site's private key into a Secret of the cluster and hands it to a pod whose "
        "image the job may choose"
    ),
    "slurm": (
        "NVFlare's slurm launcher needs the site's private key on a file system that all nodes share, and shows it to "
        "a container whose image the job may choose"
    ),
}


def check_launcher(name: str) -> None:
    """See that jobs may be started in the way called ``name``.

    Raises:
        UsageError: where they may not; says why.
    """
    if name == PROCESS:
        return
    if name in _REASONS:
        raise UsageError(_REASONS[name], hint=_HINT)
    raise UsageError(f"there is no launcher `{name}`", hint=f"there are {', '.join([PROCESS, *_REASONS])}")
