# SPDX-License-Identifier: Apache-2.0
"""`update-size`: what leaves in one round, and in all rounds of the job together, is within the policy's bytes."""

from __future__ import annotations

from cloister.policies.check import Check, Outcomes, Rule


def judge(check: Check) -> Outcomes:
    """Allow up to `maximum_bytes_per_round` and, where given, `maximum_bytes_per_job`; asked at the egress gate.

    A refusal goes to the server, and how many bytes it was is chosen by the trainer: so it says the limit alone.
    """
    leaving, limits = check.request.leaving, check.policy.may_leave
    if leaving is None:
        return check.not_applicable("is checked when something is about to leave")
    if limits is None:
        return check.silent("may_leave")
    refusals: Outcomes = ()
    if not 0 <= leaving.bytes <= limits.maximum_bytes_per_round:
        message = f"this round's bytes are not within the {limits.maximum_bytes_per_round} that may leave"
        refusals += check.deny(message, policy=("may_leave", "maximum_bytes_per_round"))
    total, most = leaving.bytes + leaving.bytes_before, limits.maximum_bytes_per_job
    if most is not None and not 0 <= total <= most:
        message = f"with this round the job's bytes are not within the {most} that may leave"
        refusals += check.deny(message, policy=("may_leave", "maximum_bytes_per_job"))
    return refusals or check.allow(f"{leaving.bytes} bytes may leave in this round", policy=("may_leave",))


RULE = Rule("update-size", judge, sections=("may_leave",), waivable=True)
