# SPDX-License-Identifier: Apache-2.0
"""What came of a request: one outcome for every rule and policy document, and whether the whole is allowed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

_SHOWN_CHARACTERS = 80

Which = Literal["site", "baseline"]
"""A site's own policy, or the baseline under it."""


class Effect(StrEnum):
    """What one rule says."""

    ALLOW = "allow"
    DENY = "deny"
    WAIVED = "waived"  # it denies, and the policy itself waives that for a while
    NOT_APPLICABLE = "not-applicable"


_HARMLESS = frozenset({Effect.ALLOW, Effect.WAIVED, Effect.NOT_APPLICABLE})


@dataclass(frozen=True)
class Outcome:
    """What one rule found in one policy document.

    Attributes:
        rule: its id, which is also its heading in docs/policies.md.
        effect: what it says.
        message: why, as one line for people.
        policy_at: `file:line` of the policy that it rests on; empty where it rests on none.
        job_at: `file:line` of what the job asks for; empty where it is not about the job.
        document: which of the two documents was asked.
        stated: whether it rests on what the document states; no waiver covers a denial for want of a limit.
    """

    rule: str
    effect: Effect
    message: str
    policy_at: str = ""
    job_at: str = ""
    document: Which = "site"
    stated: bool = field(default=True, compare=False)

    def sentence(self) -> str:
        """Rule, reason and places as one line."""
        places = "; ".join(place for place in (self.policy_at, self.job_at) if place)
        return f"`{self.rule}`: {self.message}" + (f" ({places})" if places else "")


@dataclass(frozen=True)
class Decision:
    """All outcomes, in the order of the rules; within a rule the site's own policy comes first.

    Attributes:
        outcomes: what each rule found.
    """

    outcomes: tuple[Outcome, ...]

    @property
    def allowed(self) -> bool:
        """Whether some rule allows and none says anything but `allow`, `waived` or `not-applicable`.

        Forbid wins and the default is deny, as in Cedar (https://docs.cedarpolicy.com/auth/authorization.html).
        """
        effects = {outcome.effect for outcome in self.outcomes}
        return Effect.ALLOW in effects and effects <= _HARMLESS

    @property
    def refusals(self) -> tuple[Outcome, ...]:
        """The outcomes that deny."""
        return tuple(outcome for outcome in self.outcomes if outcome.effect is Effect.DENY)

    @property
    def waived(self) -> tuple[Outcome, ...]:
        """The outcomes that would deny and are waived."""
        return tuple(outcome for outcome in self.outcomes if outcome.effect is Effect.WAIVED)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"allowed": self.allowed, "outcomes": [asdict(outcome) for outcome in self.outcomes]}

    def sentence(self) -> str:
        """The whole as one line: every refusal, or how many rules allow and what was waived."""
        if self.refusals:
            return "; ".join(refusal.sentence() for refusal in self.refusals)
        if not self.allowed:
            return "no rule allows it"
        rules = {outcome.rule for outcome in self.outcomes if outcome.effect is Effect.ALLOW}
        said = f"allowed by {len(rules)} rules"
        return "; ".join((said, *(outcome.sentence() for outcome in self.waived)))


def quoted(text: str) -> str:
    """``text`` from outside in backticks, on one line and not longer than 80 characters, whatever it holds."""
    plain = "".join(character if character.isprintable() and character != "`" else "?" for character in text)
    return f"`{plain[:_SHOWN_CHARACTERS]}…`" if len(plain) > _SHOWN_CHARACTERS else f"`{plain}`"


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Names for a sentence, each in backticks."""
    return ", ".join(quoted(name) for name in names)
