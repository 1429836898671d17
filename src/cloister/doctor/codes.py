# SPDX-License-Identifier: Apache-2.0
"""Every code that `cloister doctor` can give, with how grave it is; docs/doctor.md has cause and cure of each.

The first two digits are the topic. `00` says that it is in order, `99` that it could not be checked. A code that was
given keeps its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType


class Level(StrEnum):
    """How grave a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Topic(IntEnum):
    """What is looked at; the number is the first two digits of its codes."""

    NAME = 1
    PORT = 2
    TLS = 3
    PROXY = 4
    CLOCK = 5
    KIT = 6
    ROSTER = 7
    POLICY = 8
    SANDBOX = 9
    CAPACITY = 10
    BASE_MODELS = 11
    DATASETS = 12
    VERSIONS = 13
    RIGHTS = 14
    DOCUMENTS = 15
    SERVER = 16
    AUDIT = 17

    def code(self, number: int) -> str:
        """The code of this topic that ends in ``number``."""
        return f"D{self.value:02d}{number:02d}"


@dataclass(frozen=True)
class Code:
    """What a code stands for.

    Attributes:
        level: how grave it is.
        title: what it is, in a few words; its heading in docs/doctor.md.
    """

    level: Level
    title: str


_TOPICS = {
    Topic.NAME: "the name of the server's host",
    Topic.PORT: "the server's port",
    Topic.TLS: "mutual TLS with the server",
    Topic.PROXY: "the environment's proxy",
    Topic.CLOCK: "this machine's clock",
    Topic.KIT: "own key and certificate",
    Topic.ROSTER: "the roster",
    Topic.POLICY: "the site's policy",
    Topic.SANDBOX: "the sandbox",
    Topic.CAPACITY: "disk, memory and GPU",
    Topic.BASE_MODELS: "base models",
    Topic.DATASETS: "datasets",
    Topic.VERSIONS: "versions",
    Topic.RIGHTS: "rights of files",
    Topic.DOCUMENTS: "the site's documents",
    Topic.SERVER: "the server on this machine",
    Topic.AUDIT: "the audit log",
}

_PROBLEMS = {
    "D0101": "the name does not exist",
    "D0102": "the name server does not answer",
    "D0201": "the port is closed",
    "D0202": "nothing answers at the port",
    "D0203": "there is no way to the server",
    "D0206": "plain HTTP",
    "D0207": "another service, without TLS",
    "D0208": "the port cannot be tried",
    "D0301": "the server's certificate is of another issuer",
    "D0302": "the server's certificate is of another authority with this federation's name",
    "D0303": "the server's certificate has expired",
    "D0304": "the server's certificate is not valid yet",
    "D0305": "the server's certificate names other hosts",
    "D0306": "the server's certificate is not a server's",
    "D0307": "the roster refuses the server's certificate",
    "D0308": "the server's certificate is refused",
    "D0310": "the server refuses our certificate",
    "D0311": "the server hangs up",
    "D0312": "the server says nothing",
    "D0313": "TLS, but another service",
    "D0314": "TLS is refused before any certificate is shown",
    "D0316": "the server opens no session",
    "D0402": "the proxy refuses",
    "D0403": "the proxy does not answer",
    "D0501": "the clock is behind",
    "D0503": "the clock differs from the server's",
    "D0601": "a file is missing",
    "D0602": "a file cannot be read",
    "D0603": "others can read the key",
    "D0604": "the folder of the key is open to others",
    "D0605": "certificate and key do not belong together",
    "D0606": "the certificate is of another authority",
    "D0607": "the root is not an authority's",
    "D0608": "the certificate has expired",
    "D0609": "the certificate is not valid yet",
    "D0610": "the certificate differs from the roster",
    "D0611": "the certificate is refused",
    "D0612": "the certificate is revoked",
    "D0614": "renewal is overdue",
    "D0616": "the authority's certificate has expired",
    "D0701": "not in the roster",
    "D0702": "there is no signed roster",
    "D0703": "the signed roster cannot be used",
    "D0704": "the roster is stale",
    "D0705": "the roster refuses the certificate",
    "D0707": "the certificate is none of those that were issued",
    "D0801": "the policy is not signed",
    "D0802": "the policy is outside its dates",
    "D0803": "the policy is not in force",
    "D0901": "there is no sandbox",
    "D1001": "the disk is full",
    "D1003": "less memory than the capacity promises",
    "D1101": "a base model is missing",
    "D1102": "a base model is another",
    "D1201": "a dataset cannot be read",
    "D1301": "a library is missing or of another version",
    "D1302": "Python is of another version",
    "D1303": "another version than the server's",
    "D1401": "a folder is open to others",
    "D1402": "others can read a secret",
    "D1403": "files belong to somebody else",
    "D1501": "a document is invalid",
    "D1601": "the port is taken by another program",
    "D1602": "the certificate does not name every host",
    "D1701": "the audit log is not what was written",
}

_WARNINGS = {
    "D0103": "the name is this machine, and the server is not here",
    "D0204": "the server is not running",
    "D0205": "the port is not chosen yet",
    "D0309": "the server's certificate ends soon",
    "D0315": "the server's certificate was looked at, and ours not shown",
    "D0317": "no word from the server for a while",
    "D0401": "a proxy that is not used",
    "D0404": "a proxy on the way",
    "D0502": "the clock is not synchronised",
    "D0504": "the clock is a little off",
    "D0613": "renewal is due",
    "D0615": "the authority ends soon",
    "D0617": "a renewal was interrupted",
    "D0706": "the document differs from the signed roster",
    "D0804": "the policy ends soon",
    "D0902": "the policy switches the sandbox off",
    "D1002": "the disk is nearly full",
    "D1004": "fewer processors than the capacity promises",
    "D1005": "the GPU's driver does not answer",
    "D1006": "a GPU that cannot be used",
    "D1007": "less memory is free than the capacity promises",
    "D1103": "a base model that nothing pins",
    "D1603": "the running server still has its old certificate",
    "D1604": "requests wait",
    "D1605": "a newer roster lies in the mailbox",
}


def _all() -> dict[str, Code]:
    found: dict[str, Code] = {}
    for topic, title in _TOPICS.items():
        found[topic.code(0)] = Code(Level.OK, f"{title}: in order")
        found[topic.code(99)] = Code(Level.PROBLEM, f"{title}: could not be checked")
    for level, codes in ((Level.PROBLEM, _PROBLEMS), (Level.WARNING, _WARNINGS)):
        found |= {code: Code(level, title) for code, title in codes.items()}
    return dict(sorted(found.items()))


CODES: Mapping[str, Code] = MappingProxyType(_all())
"""Every code there is, in order."""
