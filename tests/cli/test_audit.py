# SPDX-License-Identifier: Apache-2.0
import json
import shutil
import stat
from pathlib import Path

import pytest

from cloister.audit import FILE, Kind, Log, Notary
from cloister.audit.last_checkpoint import path_of as path_of_memory
from cloister.certificates import PrivateKey, read_certificate
from cloister.cli import audit_export
from cloister.errors import AuditError
from cloister.flare.exchange import content_of, digest_of, reply_of
from cloister.flare.not_recorded import NOT_RECORDED
from cloister.flare.state import State
from tests.audit.world import DIGEST, JOB
from tests.cli.commands import cloister
from tests.federation_folder import make_federation


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory) -> Path:
    root = make_federation(tmp_path_factory.mktemp("audit"))
    assert cloister("provision", "-C", root).status == 0
    return root


def log_of(root: Path, workspace: Path, name: str, stem: str) -> Log:
    startup = workspace / "startup"

    def notary() -> Notary:
        return Notary(PrivateKey.load(startup / f"{stem}.key"), read_certificate(startup / f"{stem}.crt"))

    return Log(workspace / "audit", name, notary)


@pytest.fixture
def root(provisioned):
    """The provisioned folder, with the logs of one site and of the server after one message."""
    state = State(provisioned)
    server = log_of(provisioned, state.server, "coordinator", "server")
    site = log_of(provisioned, state.site("alpha"), "alpha", "client")
    for log in (server, site):
        shutil.rmtree(log.folder, ignore_errors=True)
        path_of_memory(log.folder).unlink(missing_ok=True)
    site.append(Kind.START, {"version": "1"})
    head = site.head()
    facts = {"reply": "update", "digest": DIGEST, "bytes": 9}
    site.append(Kind.RELEASE, facts, job=JOB, number=1)
    server.append(Kind.RECEIVE, facts | {"site": "alpha", "site_head": head}, job=JOB, number=1)
    site.checkpoint()
    server.checkpoint()
    return provisioned


def path_of(root: Path) -> Path:
    return State(root).site("alpha") / "audit" / FILE


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"bytes":9', b'"bytes":8'))


def test_show_tells_what_is_there(root):
    done = cloister("audit", "show", "alpha", "-C", root)
    assert (done.status, done.err) == (0, "")
    assert f"bytes=9; digest={DIGEST}; reply=update" in done.out
    value = cloister("audit", "show", "alpha", "-C", root, "--json").value
    assert [each["kind"] for each in value] == ["start", "release", "checkpoint"]


@pytest.mark.parametrize(
    ("options", "sequences"),
    [
        (["--kind", "release"], [2]),
        (["--job", JOB], [2]),
        (["--job", JOB[:8]], [2]),
        (["--since", "2020-01-01"], [1, 2, 3]),
        (["--since", "2999-01-01T00:00"], []),
        (["--since", "2020-01-01T00:00+01:00"], [1, 2, 3]),
        (["--last", "1"], [3]),
        (["--last", "1", "--kind", "start"], [1]),
    ],
)
def test_show_filters(root, options, sequences):
    value = cloister("audit", "show", "alpha", *options, "-C", root, "--json").value
    assert [each["sequence"] for each in value] == sequences


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "nobody"),
        ("show", "beta"),
        ("verify", "beta"),
        ("show", "alpha", "--kind", "nothing"),
        ("show", "alpha", "--job", "other"),
        ("show", "alpha", "--since", "yesterday"),
        ("verify", "nobody"),
        ("verify", "--file", "x"),
        ("verify", "--certificate", "x"),
        ("export", "alpha", "--format", "xml"),
        ("export", "alpha", "--json"),
        ("compare", JOB.replace("0b", "0c")),
    ],
)
def test_what_is_not_there_is_a_usage_error(root, arguments):
    assert cloister("audit", *arguments, "-C", root).status == 2


def test_verify_says_that_all_is_in_order(root):
    done = cloister("audit", "verify", "-C", root)
    assert done.status == 0
    assert "alpha: 3 entries in order, 1 checkpoints, all vouched for" in done.out
    assert "coordinator: 2 entries in order, 1 checkpoints, all vouched for" in done.out
    log_of(root, State(root).server, "coordinator", "server").append(Kind.STOP)
    out = cloister("audit", "verify", "coordinator", "-C", root).out
    assert "coordinator: 3 entries in order, 1 checkpoints; 1 entries after the last checkpoint are not yet" in out
    (value,) = cloister("audit", "verify", "alpha", "-C", root, "--json").value
    assert (value["entries"], value["covered"], value["uncovered"], value["broken"]) == (3, 2, 0, None)


def test_verify_names_the_first_broken_entry(root):
    edit(path_of(root))
    done = cloister("audit", "verify", "alpha", "-C", root)
    assert done.status == 1
    assert f"alpha: BROKEN at {path_of(root)}:2: edited: the line was edited" in done.out
    assert done.err.startswith("cloister: the audit log")
    done = cloister("audit", "verify", "-C", root, "--json")
    assert done.status == 1
    assert [each["broken"] and each["broken"]["line"] for each in done.value] == [None, 2]


def test_verify_needs_no_federation_s_state_but_log_and_certificate(root, tmp_path):
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(path_of(root).read_bytes())
    certificate = State(root).site("alpha") / "startup" / "client.crt"
    options = ["--file", copy, "--certificate", certificate, "--root", certificate.with_name("rootCA.pem")]
    assert cloister("audit", "verify", *options).status == 0
    assert cloister("audit", "verify", "beta", *options).status == 1
    other = State(root).site("beta") / "startup" / "client.crt"
    assert "foreign" in cloister("audit", "verify", "--file", copy, "--certificate", other).out
    edit(copy)
    assert cloister("audit", "verify", *options).status == 1


def test_export_writes_what_a_siem_reads(root, tmp_path):
    done = cloister("audit", "export", "alpha", "-C", root)
    assert done.out.encode() == path_of(root).read_bytes()
    assert all(
        line.startswith("CEF:0|")
        for line in cloister("audit", "export", "alpha", "--format", "cef", "-C", root).out.splitlines()
    )
    to = tmp_path / "out.jsonl"
    value = cloister("audit", "export", "alpha", "--to", to, "-C", root, "--json").value
    assert value == {"file": str(to), "format": "json", "events": 3, "unreadable": []}
    assert [json.loads(line)["sequence"] for line in to.read_text().splitlines()] == [1, 2, 3]
    assert stat.S_IMODE(to.stat().st_mode) == 0o600
    done = cloister("audit", "export", "alpha", "--to", to, "-C", root)
    assert (done.status, f"`{to}`" in done.err) == (1, True)
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_export_tells_of_lines_that_it_cannot_write_and_fails(root, tmp_path):
    edit(path_of(root))
    to = tmp_path / "out.jsonl"
    done = cloister("audit", "export", "alpha", "--to", to, "-C", root, "--json")
    assert (done.status, done.value["events"], done.value["unreadable"]) == (1, 2, [2])
    assert [json.loads(line)["sequence"] for line in to.read_text().splitlines()] == [1, 3]
    done = cloister("audit", "export", "alpha", "-C", root)
    assert (done.status, done.out.count("\n")) == (1, 2)
    assert f"`{path_of(root)}:2`" in done.err
    assert "the line was edited" in done.err


def test_an_export_that_fails_leaves_nothing_and_can_be_made_again(root, tmp_path, monkeypatch):
    to = tmp_path / "out.cef"

    def fail(*_arguments):
        raise AuditError("on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(audit_export, "every_line", fail)
        assert cloister("audit", "export", "alpha", "--to", to, "-C", root).status == 1
    assert list(tmp_path.iterdir()) == []
    assert cloister("audit", "export", "alpha", "--to", to, "-C", root).status == 0


def test_show_says_that_it_left_lines_out(root):
    edit(path_of(root))
    done = cloister("audit", "show", "alpha", "-C", root)
    assert done.status == 0
    assert "1 lines cannot be read and are not shown" in done.out


def test_verify_says_that_a_log_was_removed(root):
    path_of(root).unlink()
    done = cloister("audit", "verify", "-C", root, "--json")
    assert done.status == 1
    assert [each["broken"] and each["broken"]["fault"] for each in done.value] == [None, "missing"]
    done = cloister("audit", "verify", "alpha", "-C", root)
    assert done.status == 1
    assert f"alpha: BROKEN at {path_of(root)}: missing: the log was removed" in done.out


def test_verify_knows_from_nvflare_s_own_log_that_a_site_has_run(root):
    trace = State(root).site("beta") / "log.txt"
    assert [each["participant"] for each in cloister("audit", "verify", "-C", root, "--json").value][1:] == ["alpha"]
    try:
        trace.write_text("")
        done = cloister("audit", "verify", "-C", root, "--json")
        assert [(each["participant"], each["broken"] and each["broken"]["fault"]) for each in done.value][1:] == [
            ("alpha", None),
            ("beta", "missing"),
        ]
    finally:
        trace.unlink()


def test_verify_finds_a_cut_by_what_the_site_remembers(root):
    whole = path_of(root).read_bytes()
    log_of(root, State(root).site("alpha"), "alpha", "client").append(Kind.STOP)
    log_of(root, State(root).site("alpha"), "alpha", "client").checkpoint()
    path_of(root).write_bytes(whole)
    done = cloister("audit", "verify", "alpha", "-C", root)
    assert done.status == 1
    assert f"{path_of(root)}:4: cut off: the log ends before entry 5" in done.out


def test_an_emptied_log_is_not_vouched_for(root, tmp_path):
    path_of(root).write_bytes(b"")
    assert "vouched" not in cloister("audit", "verify", "alpha", "-C", root).out
    certificate = State(root).site("alpha") / "startup" / "client.crt"
    done = cloister("audit", "verify", "--file", path_of(root), "--certificate", certificate)
    assert (done.status, "empty" in done.out) == (1, True)


@pytest.mark.parametrize("job", [JOB, "last"])
def test_compare_says_that_the_logs_agree(root, job):
    done = cloister("audit", "compare", job, "-C", root)
    assert done.status == 0
    assert "1 messages, 0 contradictions, 0 that did not arrive" in done.out


def test_compare_finds_a_contradiction(root):
    server = log_of(root, State(root).server, "coordinator", "server")
    server.append(Kind.RECEIVE, {"site": "alpha", "reply": "update", "digest": DIGEST}, job=JOB, number=2)
    done = cloister("audit", "compare", JOB, "-C", root, "--json")
    assert done.status == 1
    assert [each["verdict"] for each in done.value["messages"]] == ["same", "not released"]


def test_compare_compares_nothing_where_a_log_is_not_what_was_written(root):
    edit(path_of(root))
    done = cloister("audit", "compare", JOB, "-C", root)
    assert (done.status, done.out) == (1, "")
    assert "the audit log of `alpha` is not what was written" in done.err


def test_compare_says_whose_log_is_missing(root):
    server = log_of(root, State(root).server, "coordinator", "server")
    server.append(Kind.RECEIVE, {"site": "beta", "reply": "update", "digest": DIGEST}, job=JOB, number=1)
    done = cloister("audit", "compare", JOB, "-C", root, "--json")
    assert [(each["site"], each["verdict"]) for each in done.value["messages"]] == [
        ("alpha", "same"),
        ("beta", "no log"),
    ]
    assert done.status == 1
    assert "no log of `beta` here" in cloister("audit", "compare", JOB, "-C", root).err


def test_compare_knows_the_answer_of_a_site_that_cannot_write(root):
    server = log_of(root, State(root).server, "coordinator", "server")
    facts = {"site": "alpha", "reply": "refusal", "digest": digest_of(*content_of(reply_of(NOT_RECORDED)))}
    server.append(Kind.RECEIVE, facts, job=JOB)
    done = cloister("audit", "compare", JOB, "-C", root, "--json")
    assert done.status == 0
    assert [each["verdict"] for each in done.value["messages"]] == ["site could not record", "same"]


def test_a_damaged_policy_keeps_nobody_from_reading_a_log(root):
    policy = root / "policies" / "alpha.yaml"
    text = policy.read_text()
    try:
        policy.write_text("policy: [")
        assert cloister("audit", "show", "alpha", "-C", root).status == 0
    finally:
        policy.write_text(text)
