# SPDX-License-Identifier: Apache-2.0
import pytest

from cloister.audit import ERROR, UNREADABLE, Kind, Verdict, compare, entries
from cloister.audit.event import FIRST
from tests.audit.world import DIGEST, JOB, log_in

OTHER = "cd" * 32
OTHER_JOB = JOB.replace("0b5e", "0b5f")


class Two:
    """A site's and the server's log."""

    def __init__(self, tmp_path):
        self.site, self.server = log_in(tmp_path / "alpha"), log_in(tmp_path / "coordinator", "coordinator")

    def released(self, number, digest=DIGEST, job=JOB, reply="update"):
        head = self.site.head()
        self.site.append(Kind.RELEASE, {"reply": reply, "digest": digest, "bytes": 9}, job=job, number=number)
        return head

    def received(self, number, digest=DIGEST, head=FIRST, site="alpha", job=JOB, reply="update"):
        facts = {"site": site, "reply": reply, "digest": digest, "bytes": 9, "site_head": head}
        self.server.append(Kind.RECEIVE, facts, job=job, number=number)

    def rows(self, fixed=()):
        return compare(JOB, {"alpha": entries(self.site.path)}, entries(self.server.path), fixed)


@pytest.fixture
def two(tmp_path):
    both = Two(tmp_path)
    both.site.append(Kind.START)
    both.server.append(Kind.START)
    return both


def test_what_was_released_was_received(two):
    for number in (1, 2):
        two.received(number, head=two.released(number))
    rows = two.rows()
    assert [(row.site, row.round, row.reply, row.bytes, row.verdict) for row in rows] == [
        ("alpha", 1, "update", 9, Verdict.SAME),
        ("alpha", 2, "update", 9, Verdict.SAME),
    ]
    assert rows[0].released == rows[0].received == DIGEST
    assert not any(row.verdict.is_contradiction for row in rows)


@pytest.mark.parametrize(
    ("act", "verdict", "contradiction"),
    [
        (lambda two: two.released(1), Verdict.NOT_RECEIVED, False),
        (lambda two: two.received(1), Verdict.NOT_RELEASED, True),
        (lambda two: two.received(1, OTHER, two.released(1)), Verdict.DIFFERENT, True),
        (lambda two: (two.released(1), two.received(1, head=OTHER)), Verdict.HEADS_DISAGREE, True),
    ],
)
def test_what_does_not_agree_is_told(two, act, verdict, contradiction):
    act(two)
    (row,) = two.rows()
    assert row.verdict is verdict
    assert row.verdict.is_contradiction is contradiction


def test_two_equal_messages_are_two(two):
    two.released(1)
    two.received(1)
    two.received(1)
    assert [row.verdict for row in two.rows()] == [Verdict.NOT_RELEASED, Verdict.SAME]


def test_another_round_or_kind_is_another_message(two):
    two.released(1)
    two.received(2)
    two.released(0, reply="prepared")
    two.received(0, reply="refusal")
    verdicts = {(row.round, row.reply): row.verdict for row in two.rows()}
    assert verdicts == {
        (1, "update"): Verdict.NOT_RECEIVED,
        (2, "update"): Verdict.NOT_RELEASED,
        (0, "prepared"): Verdict.NOT_RECEIVED,
        (0, "refusal"): Verdict.NOT_RELEASED,
    }


def test_other_jobs_are_left_out(two):
    two.released(1, job=OTHER_JOB)
    two.received(1, job=OTHER_JOB)
    assert two.rows() == []


def test_a_site_that_sent_something_and_has_no_log_is_told(two):
    two.received(1, head=two.released(1))
    two.received(1, OTHER, site="beta")
    rows = two.rows()
    assert [(row.site, row.verdict) for row in rows] == [("alpha", Verdict.SAME), ("beta", Verdict.NO_LOG)]
    assert (rows[1].released, rows[1].received) == ("", OTHER)
    assert not rows[1].verdict.is_contradiction


def test_what_a_site_sends_where_it_cannot_write_is_no_contradiction(two):
    two.received(0, OTHER, reply="refusal")
    two.received(0, DIGEST, reply="refusal")
    verdicts = {row.received: row.verdict for row in two.rows([OTHER])}
    assert verdicts == {OTHER: Verdict.NOT_RECORDED, DIGEST: Verdict.NOT_RELEASED}
    assert not Verdict.NOT_RECORDED.is_contradiction


def test_an_error_code_of_nvflare_s_is_no_message_and_an_unreadable_one_is(two):
    for kind in (ERROR, UNREADABLE):
        two.server.append(Kind.RECEIVE, {"site": "alpha", "reply": kind}, job=JOB)
    rows = {row.reply: row for row in two.rows()}
    assert rows[ERROR].verdict is Verdict.ERROR_CODE
    assert not rows[ERROR].verdict.is_contradiction
    assert rows[UNREADABLE].verdict is Verdict.NOT_RELEASED
    assert rows[UNREADABLE].verdict.is_contradiction


def test_every_verdict_but_three_leaves_both_logs_believable():
    wrong = {verdict for verdict in Verdict if verdict.is_contradiction}
    assert wrong == {Verdict.DIFFERENT, Verdict.NOT_RELEASED, Verdict.HEADS_DISAGREE}
