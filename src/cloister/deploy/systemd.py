# SPDX-License-Identifier: Apache-2.0
"""Units for systemd (systemd.exec(5), systemd.service(5)), as strict as the sandbox of a site lets them be.

The trainer's sandbox is bubblewrap, which makes namespaces of its own. Directives that forbid what it needs are left
out of a site's unit and stand in the server's; which do was tried with systemd 252 one by one, and a test tries the
whole unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from cloister.deploy.service import Service
from cloister.errors import UsageError

CREDENTIAL = "cloister-passphrase"
"""What the passphrase of an encrypted key is called among a unit's credentials."""

SECRETS = "/etc/cloister"
"""Folder of the passphrases, of root alone; systemd hands each to its one unit."""

AUTHORITY = "cloister-authority"

_HIDDEN = ("/home", "/root", "/run/user")
_NOT_SHOWN = ("/tmp", "/var/tmp")  # noqa: S108 - what a unit with PrivateTmp= does not see

_FOR_BOTH = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
PrivateMounts=yes
PrivateUsers=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
UMask=0077
LimitCORE=0
"""

_FOR_A_SERVER = """\
# There is no sandbox here, so nothing needs namespaces, mounts, or memory that is written and then run.
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @keyring userfaultfd
ProtectHostname=yes
ProtectKernelTunables=yes
MemoryDenyWriteExecute=yes
"""

_FOR_A_SITE = """\
# The trainer runs in bubblewrap, with fewer rights than this unit has. For that bubblewrap makes namespaces and mounts
# of its own, which the following would forbid, so they are not set:
#   RestrictNamespaces=      it makes a user namespace, and in it one of every other kind
#   ProtectKernelTunables=   it writes /proc/sys/user/max_user_namespaces of its own namespace, to forbid further ones
#   ProtectHostname=         it names its own host
#   ProcSubset=pid           it reads /proc/sys
#   MemoryDenyWriteExecute=  libraries of numerical code compile for the processor that they find
# and these allow what it needs: netlink to bring up a loopback device, @mount and sethostname.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallFilter=@system-service @mount sethostname seccomp
SystemCallFilter=~@keyring userfaultfd
"""


@dataclass(frozen=True)
class Machine:
    """What a unit has to know about the machine that it is for.

    Attributes:
        folder: absolute path of the federation's folder there.
        program: absolute path of the command `cloister` there.
        user: who owns the keys and runs the processes.
        passphrase: whether the keys are encrypted.
        runtime: folders that the program needs beside its own, such as that of a Python elsewhere.
    """

    folder: str
    program: str
    user: str = "cloister"
    passphrase: bool = False
    runtime: tuple[str, ...] = ()


def systemd_files(service: Service, machine: Machine) -> dict[str, str]:
    """The unit that keeps ``service`` running.

    Raises:
        UsageError: where a path of the machine cannot stand in a unit.
    """
    check_machine(machine)
    what = "Server" if service.is_server else f"Site {service.name}"
    reads = [_absolute(machine.folder, path) for path in service.reads]
    check_seen(reads)
    mounts = " ".join(_quoted(path) for path in dict.fromkeys([machine.folder, *reads]))
    unit = f"""\
# Made by `cloister deploy systemd` from the documents of the federation {service.federation}; do not edit.
# For changes of your own: systemctl edit {service.unit}.service

[Unit]
Description={what} of the Cloister federation {service.federation}
Wants=network-online.target
After=network-online.target nss-lookup.target time-sync.target
RequiresMountsFor={mounts}
# However long something is broken: a service that has given up is found by nobody.
StartLimitIntervalSec=0

[Service]
Type=exec
User={machine.user}
Group={machine.user}
WorkingDirectory={_path(machine.folder)}
ExecStart={_word(machine.program)} serve {service.name} --folder {_word(machine.folder)}
{_credential(service.name, machine)}\
# Statuses 2 and 4: no such name, or a document is invalid. Trying again mends neither.
Restart=on-failure
RestartSec=10
RestartPreventExitStatus=2 4
# Stopped before it had begun, as by Ctrl-C.
SuccessExitStatus=130
TimeoutStopSec=60
# A trainer that is killed for memory is a failed job, not a failed service.
OOMPolicy=continue
MemoryMax={service.memory_mib}M
# Records never reach the disk by way of the swap.
MemorySwapMax=0
TasksMax={service.tasks}

{_FOR_BOTH}\
{_home(machine, reads)}\
ReadWritePaths={_quoted(f"-{machine.folder}/.cloister")}
InaccessiblePaths={_quoted(f"-{machine.folder}/.cloister/authority")} {_quoted(f"-{machine.folder}/.cloister/people")}

{_FOR_A_SERVER if service.is_server else _FOR_A_SITE}
[Install]
WantedBy=multi-user.target
"""
    return {f"{service.unit}.service": unit}


def authority_units(federation: str, machine: Machine, person: str = "") -> dict[str, str]:
    """A timer and the service that it starts: renewals that are due are approved, nothing else is.

    Args:
        federation: its name.
        machine: the authority's.
        person: who fetches requests from the server and brings back what was signed; nobody where the server is on the
            same machine.

    Raises:
        UsageError: where a path of the machine cannot stand in a unit.
    """
    check_machine(machine)
    where = f"--folder {_word(machine.folder)}"
    steps = ["approve --renewals"]
    if person:
        steps = [f"collect --as {_word(person)}", *steps, f"deposit --as {_word(person)}"]
    starts = "".join(f"ExecStart={_word(machine.program)} authority {step} {where}\n" for step in steps)
    service = f"""\
# Made by `cloister deploy systemd` from the documents of the federation {federation}; do not edit.
# It signs renewals alone: of certificates that are in force, for the same names. Who joins is approved by a person.
# The authority's key is on this machine for it. Where that is not wanted, do without this unit and approve by hand.

[Unit]
Description=Renewals of certificates of the Cloister federation {federation}
RequiresMountsFor={_quoted(machine.folder)}

[Service]
Type=oneshot
User={machine.user}
Group={machine.user}
WorkingDirectory={_path(machine.folder)}
{starts}\
{_credential("authority", machine)}\
TimeoutStartSec=300
MemoryMax=1G
MemorySwapMax=0
TasksMax=64

{_FOR_BOTH}\
{_home(machine, [])}\
ReadWritePaths={_quoted(f"{machine.folder}/.cloister")}

{_FOR_A_SERVER}"""
    timer = f"""\
# Made by `cloister deploy systemd` from the documents of the federation {federation}; do not edit.

[Unit]
Description=Hourly renewals of certificates of the Cloister federation {federation}

[Timer]
OnCalendar=hourly
RandomizedDelaySec=600
Persistent=yes

[Install]
WantedBy=timers.target
"""
    return {f"{AUTHORITY}.service": service, f"{AUTHORITY}.timer": timer}


def check_machine(machine: Machine) -> None:
    """See that the machine's paths can stand in a unit, and be seen by it.

    Raises:
        UsageError: where one cannot.
    """
    for path in (machine.folder, machine.program):
        if not path.startswith("/") or not path.isprintable() or ".." in PurePosixPath(path).parts:
            raise UsageError(f"`{path}` is no absolute path that a unit can name", hint="write it out from `/`")
    check_seen([machine.folder, machine.program])
    if not machine.user.isascii() or not machine.user.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"`{machine.user}` is no name of a user")


def check_seen(paths: list[str]) -> None:
    """See that a unit sees ``paths``.

    Raises:
        UsageError: where it does not see one.
    """
    for path in paths:
        if any(PurePosixPath(path).is_relative_to(place) for place in _NOT_SHOWN):
            hint = "move it to a place that stays, such as /srv/cloister, or name where it will lie with --at"
            raise UsageError(f"`{path}` lies in a folder for temporary files, which services do not see", hint=hint)


def _credential(name: str, machine: Machine) -> str:
    if not machine.passphrase:
        return ""
    return (
        "# Root alone reads the file; systemd shows it to this unit, in memory. `systemd-creds encrypt` and\n"
        "# LoadCredentialEncrypted= keep it encrypted on the disk as well.\n"
        f"LoadCredential={CREDENTIAL}:{SECRETS}/{name}.passphrase\n"
    )


def _home(machine: Machine, reads: list[str]) -> str:
    paths = [PurePosixPath(path) for path in (machine.folder, machine.program, *machine.runtime, *reads)]
    if any(path.is_relative_to(place) for path in paths for place in _HIDDEN):
        return "# Not `yes`: what is named above lies in somebody's home.\nProtectHome=read-only\n"
    return "ProtectHome=yes\n"


def _absolute(folder: str, path: str) -> str:
    return str(PurePosixPath(folder) / path)


def _path(path: str) -> str:
    """A path as the whole of a value: `%` is the beginning of a specifier."""
    return path.replace("%", "%%")


def _quoted(path: str) -> str:
    """A path in a list of paths."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if escaped != path or " " in path or "'" in path else path


def _word(text: str) -> str:
    """A word of a command line, in which `$` begins a variable."""
    return _quoted(text).replace("$", "$$")
