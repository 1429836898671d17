# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply

from cloister.errors import CloisterError, EgressError
from cloister.flare import egress_filter, payload
from cloister.flare.egress_filter import EgressFilter, digest_of, note_passed, released_digest
from cloister.flare.exchange import Refusal, Update, content_of, reply_of, reply_with

SECRET = "Ada Lovelace"
UPDATE = Update(round=1, records=18, metrics={"accuracy": 0.5}, restarts=0)


@pytest.fixture
def fl_ctx() -> FLContext:
    return FLContext()


def passed(fl_ctx: FLContext) -> Shareable:
    return note_passed(fl_ctx, reply_of(UPDATE, b"tensors"))


def out(shareable: Shareable, fl_ctx: FLContext) -> Shareable:
    return EgressFilter().process(shareable, fl_ctx)


def test_what_passed_the_gate_leaves_as_it_passed(fl_ctx: FLContext) -> None:
    reply = passed(fl_ctx)
    left = out(reply, fl_ctx)
    assert left is not reply
    assert content_of(left) == content_of(reply_of(UPDATE, b"tensors"))
    assert left.get_return_code() == ReturnCode.OK


def _header(shareable: Shareable) -> None:
    shareable.set_header("note", SECRET)


def _stray(shareable: Shareable) -> None:
    shareable["patients"] = [SECRET]


def _meta(shareable: Shareable) -> None:
    dxo = from_shareable(shareable)
    dxo.set_meta_prop("note", SECRET)
    dxo.update_shareable(shareable)


def _peer_props(shareable: Shareable) -> None:
    shareable.set_peer_props({"note": SECRET})


def _cookie(shareable: Shareable) -> None:
    shareable.add_cookie("note", SECRET)


@pytest.mark.parametrize("smuggle", [_header, _stray, _meta, _peer_props, _cookie])
def test_what_another_component_added_stays_behind(fl_ctx: FLContext, smuggle: Callable[[Shareable], None]) -> None:
    reply = passed(fl_ctx)
    smuggle(reply)
    assert SECRET in repr(dict(reply))
    left = out(reply, fl_ctx)
    assert SECRET not in repr(dict(left))
    assert content_of(left) == content_of(reply_of(UPDATE, b"tensors"))


def test_a_stray_parameter_is_refused(fl_ctx: FLContext) -> None:
    reply = passed(fl_ctx)
    dxo = from_shareable(reply)
    dxo.data["patients"] = SECRET
    dxo.update_shareable(reply)
    with pytest.raises(CloisterError):
        out(reply, fl_ctx)


@pytest.mark.parametrize("kind", [DataKind.ANALYTIC, DataKind.METRICS, DataKind.STATISTICS, DataKind.WEIGHTS])
def test_another_kind_of_data_is_refused(fl_ctx: FLContext, kind: str) -> None:
    passed(fl_ctx)
    with pytest.raises((CloisterError, ValueError)):
        out(DXO(kind, data={"patients": SECRET}).to_shareable(), fl_ctx)


def test_an_empty_shareable_is_refused(fl_ctx: FLContext) -> None:
    passed(fl_ctx)
    with pytest.raises((CloisterError, ValueError)):
        out(Shareable(), fl_ctx)


def test_a_reply_that_was_never_noted_is_refused(fl_ctx: FLContext) -> None:
    with pytest.raises(EgressError, match="not the one that passed the gate"):
        out(reply_of(UPDATE, b"tensors"), fl_ctx)


def test_a_reply_noted_in_another_context_is_refused(fl_ctx: FLContext) -> None:
    reply = passed(FLContext())
    with pytest.raises(EgressError):
        out(reply, fl_ctx)


@pytest.mark.parametrize(
    "swapped",
    [
        reply_of(UPDATE, b"other tensors"),
        reply_of(UPDATE),
        reply_of(UPDATE.model_copy(update={"records": 19}), b"tensors"),
        reply_of(Refusal(denied=True, reason=SECRET), b"tensors"),
    ],
)
def test_a_reply_swapped_after_the_gate_is_refused(fl_ctx: FLContext, swapped: Shareable) -> None:
    passed(fl_ctx)
    with pytest.raises(EgressError):
        out(swapped, fl_ctx)


def test_a_reply_passes_once(fl_ctx: FLContext) -> None:
    reply = passed(fl_ctx)
    out(reply, fl_ctx)
    with pytest.raises(EgressError):
        out(reply, fl_ctx)


def test_where_the_message_ends_and_the_tensors_begin_is_part_of_the_digest() -> None:
    assert digest_of(b"ab", b"c") != digest_of(b"a", b"bc")
    assert digest_of(b"", b"abc") != digest_of(b"abc", b"")


def test_bytes_moved_from_message_to_tensors_are_refused(fl_ctx: FLContext) -> None:
    message, tensors = content_of(passed(fl_ctx))
    with pytest.raises(EgressError):
        out(reply_with(message[:-1], message[-1:] + tensors), fl_ctx)


@pytest.mark.parametrize("code", [ReturnCode.EXECUTION_EXCEPTION, ReturnCode.TASK_ABORTED, ReturnCode.UNSAFE_JOB])
def test_an_error_code_leaves_alone(fl_ctx: FLContext, code: str) -> None:
    reply = passed(fl_ctx)
    _header(reply)
    _stray(reply)
    reply.set_return_code(code)
    left = out(reply, fl_ctx)
    assert left.get_return_code() == code
    assert dict(left) == dict(make_reply(code))


def test_a_code_that_is_none_of_nvflares_is_replaced(fl_ctx: FLContext) -> None:
    reply = passed(fl_ctx)
    reply.set_return_code(SECRET)
    assert out(reply, fl_ctx).get_return_code() == ReturnCode.EXECUTION_EXCEPTION


def in_a_file(path: Path, content: bytes = b"tensors") -> Shareable:
    path.write_bytes(content)
    return reply_of(UPDATE, path)


def test_a_file_that_passed_the_gate_leaves_and_is_not_read_again(
    fl_ctx: FLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload, "_APART_NS", 0)
    reply = note_passed(fl_ctx, in_a_file(tmp_path / "update"))
    message, path = content_of(reply)
    expected = digest_of(message, b"tensors")
    monkeypatch.setattr(egress_filter, "digest_of", lambda *_: pytest.fail("was read"))
    left = content_of(out(reply, fl_ctx))
    assert left == (message, path)
    assert released_digest(fl_ctx, *left) == expected
    assert released_digest(fl_ctx, *left) is None


@pytest.mark.parametrize("change", ["written to", "longer", "replaced", "another's"])
def test_a_file_that_is_not_the_one_that_passed_the_gate_stays(fl_ctx: FLContext, tmp_path: Path, change: str) -> None:
    path, other = tmp_path / "update", tmp_path / "other"
    other.write_bytes(SECRET.encode())
    reply = note_passed(fl_ctx, in_a_file(path))
    if change == "written to":
        path.write_bytes(b"changed")
    elif change == "longer":
        path.write_bytes(b"tensors" + SECRET.encode())
    elif change == "replaced":
        other.replace(path)
    else:
        reply = reply_of(UPDATE, other)
    with pytest.raises(EgressError):
        out(reply, fl_ctx)


def test_a_file_that_has_just_changed_is_read_again_before_it_leaves(
    fl_ctx: FLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat, now = Path.stat, time.time_ns()

    def coarse(path: Path) -> SimpleNamespace:
        """As where files have their times from the kernel's ticks, and all of this happens within one."""
        found = stat(path)
        same = {"st_mtime_ns": now, "st_ctime_ns": now}
        return SimpleNamespace(st_dev=found.st_dev, st_ino=found.st_ino, st_size=found.st_size, **same)

    monkeypatch.setattr(payload, "_APART_NS", 10**18)
    monkeypatch.setattr(Path, "stat", coarse)
    reply = note_passed(fl_ctx, in_a_file(tmp_path / "update"))
    (tmp_path / "update").write_bytes(b"changed")
    with pytest.raises(EgressError):
        out(reply, fl_ctx)


def test_a_file_that_is_gone_does_not_leave(fl_ctx: FLContext, tmp_path: Path) -> None:
    reply = note_passed(fl_ctx, in_a_file(tmp_path / "update"))
    (tmp_path / "update").unlink()
    with pytest.raises(OSError, match="update"):
        out(reply, fl_ctx)


def test_a_file_that_changed_after_the_filter_was_not_let_out(fl_ctx: FLContext, tmp_path: Path) -> None:
    left = content_of(out(note_passed(fl_ctx, in_a_file(tmp_path / "update")), fl_ctx))
    (tmp_path / "update").write_bytes(b"changed")
    assert released_digest(fl_ctx, *left) is None
