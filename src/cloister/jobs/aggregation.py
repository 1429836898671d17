# SPDX-License-Identifier: Apache-2.0
"""How the sites' updates become the next round's weights: what a job says under `aggregation`.

Every key is one decision of its own, so that they combine; what does not combine is refused by `combinations`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cloister.documents import Model, OneOf
from cloister.names import Line, ModulePath


class Mean(Model):
    """The mean, weighted by training records (FedAvg, https://arxiv.org/abs/1602.05629)."""


class Median(Model):
    """The median of each value, every site alike (https://arxiv.org/abs/1803.01498, definition 1)."""


class TrimmedMean(Model):
    """The mean of each value without its largest and smallest (https://arxiv.org/abs/1803.01498, definition 2).

    Attributes:
        bad_sites: how many are left out at each end; so many bad sites are borne.
    """

    bad_sites: int = Field(ge=1, le=99)


class Krum(Model):
    """The update that lies closest to its neighbours (https://arxiv.org/abs/1703.02757).

    Attributes:
        bad_sites: so many bad sites are borne; there must be 2 x `bad_sites` + 3 updates.
    """

    bad_sites: int = Field(ge=1, le=98)


class MultiKrum(Model):
    """The mean of the updates that lie closest to their neighbours (https://arxiv.org/abs/1703.02757, section 5).

    Attributes:
        bad_sites: so many bad sites are borne; there must be 2 x `bad_sites` + 3 updates.
    """

    bad_sites: int = Field(ge=1, le=98)


class GeometricMedian(Model):
    """The point with the smallest sum of distances to the updates (RFA, https://arxiv.org/abs/1912.13445)."""


class Rule(OneOf):
    """How updates are combined; exactly one key.

    Attributes:
        mean: weighted by records.
        median: of each value.
        trimmed_mean: of each value.
        krum: one update.
        multi_krum: of the closest updates.
        geometric_median: of the updates as points.
    """

    mean: Mean | None = None
    median: Median | None = None
    trimmed_mean: TrimmedMean | None = None
    krum: Krum | None = None
    multi_krum: MultiKrum | None = None
    geometric_median: GeometricMedian | None = None

    @property
    def bad_sites(self) -> int:
        """How many bad sites the job asks it to bear; 0 where it does not say."""
        chosen = self.trimmed_mean or self.krum or self.multi_krum
        return 0 if chosen is None else chosen.bad_sites

    def left(self, updates: int) -> int:
        """Of how many of so many updates something is in what comes out; the others are dropped as a whole."""
        if self.krum is not None:
            return min(1, updates)
        return updates if self.multi_krum is None else max(0, updates - self.multi_krum.bad_sites - 2)


class Mixing(Model):
    """Each update becomes the mean of those nearest to it before they are combined (https://arxiv.org/abs/2302.01772).

    Attributes:
        bad_sites: f, so many bad sites are borne; means are of n - f of n updates.
    """

    bad_sites: int = Field(ge=1, le=99)


class Nesterov(Model):
    """Momentum at the server (DiLoCo, https://arxiv.org/abs/2311.08105, algorithm 1).

    Attributes:
        learning_rate: of the server's step; 1 is as far as the mean goes.
        momentum: share of the former step that is kept.
    """

    learning_rate: float = Field(default=0.7, gt=0, le=10)
    momentum: float = Field(default=0.6, ge=0, lt=1)


class Adaptive(Model):
    """A step for each value by the size of its former ones (https://arxiv.org/abs/2003.00295, algorithm 2).

    Attributes:
        learning_rate: eta, of the server's step.
        beta1: share of the former mean that is kept.
        beta2: share of the former second moment that is kept.
        floor: tau, added to the root of the second moment.
    """

    learning_rate: float = Field(default=0.01, gt=0, le=10)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.99, ge=0, lt=1)
    floor: float = Field(default=1e-3, gt=0, le=1)


class Adagrad(Model):
    """As `Adaptive`, with a second moment that only grows.

    Attributes:
        learning_rate: eta, of the server's step.
        floor: tau, added to the root of the second moment.
    """

    learning_rate: float = Field(default=0.01, gt=0, le=10)
    floor: float = Field(default=1e-3, gt=0, le=1)


class ServerOptimiser(OneOf):
    """What the server makes of the combined update; exactly one key.

    Attributes:
        nesterov: momentum.
        adam: FedAdam.
        yogi: FedYogi.
        adagrad: FedAdagrad.
    """

    nesterov: Nesterov | None = None
    adam: Adaptive | None = None
    yogi: Adaptive | None = None
    adagrad: Adagrad | None = None


class FedProx(Model):
    """A pull towards the weights as they came (https://arxiv.org/abs/1812.06127, equation 2).

    Attributes:
        mu: its strength; half of it times the squared distance is added to the loss.
    """

    mu: float = Field(gt=0, le=100)


class Scaffold(Model):
    """Control variates against drift (https://arxiv.org/abs/1910.06378, algorithm 1, option II)."""


class Ditto(Model):
    """A second copy that stays at the site, pulled towards the shared one (https://arxiv.org/abs/2012.04221).

    Attributes:
        strength: lambda, of the pull.
    """

    strength: float = Field(gt=0, le=100)


_MOST = 1e6
"""Between two classes; with more, what is added to scores drowns what the network says."""


class Calibration(Model):
    """A classifier's loss without what is peculiar to how often each class comes at a site.

    Attributes:
        shares: how often each class comes where the network will be used, by class: shares or counts, for only their
            ratios matter; all alike where not given.
    """

    shares: dict[Line, Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None = None

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if self.shares and max(self.shares.values()) > _MOST * min(self.shares.values()):
            raise ValueError("has one of `shares` that is more than a million times another")
        return self

    def share_of(self, label: str) -> float:
        """How often the class comes where the network will be used, over how often the most frequent one does."""
        return 1.0 if self.shares is None else self.shares[label] / max(self.shares.values())


class ClientRule(OneOf):
    """What is different about training at a site; exactly one key.

    Attributes:
        fedprox: a pull towards the weights as they came.
        scaffold: control variates.
        ditto: a personal copy beside the shared one.
        calibration: a loss that makes up for how often each class comes there.
    """

    fedprox: FedProx | None = None
    scaffold: Scaffold | None = None
    ditto: Ditto | None = None
    calibration: Calibration | None = None


FactorRule = Literal["fedit", "ffa-lora", "refactored", "fedsvd", "rolora", "flora"]
"""How the two factors of low-rank adaptation are handled; docs/aggregation.md has one heading for each."""


class Aggregation(Model):
    """The whole section.

    Attributes:
        rule: how updates are combined.
        maximum_norm: updates are scaled down to this Euclidean (L2) norm before all else; not where not given.
        mixing: updates become means of those nearest to them before they are combined; not where not given.
        server: what the server makes of the combined update; it is added as it is where not given.
        factors: how low-rank factors are handled; `fedit` where the job trains such and does not say.
        client: what is different about training at a site.
        personal: layers that stay at the site, by the last parts of their names.
    """

    rule: Rule = Field(default_factory=lambda: Rule(mean=Mean()))
    maximum_norm: float | None = Field(default=None, gt=0)
    mixing: Mixing | None = None
    server: ServerOptimiser | None = None
    factors: FactorRule | None = None
    client: ClientRule | None = None
    personal: tuple[ModulePath, ...] = Field(default=(), max_length=32)

    @property
    def counts_sites_alike(self) -> bool:
        """Whether every site counts alike, whatever it says of its records, as under all rules that bear bad sites."""
        return self.rule.mean is None

    def left(self, updates: int) -> int:
        """Of how many of so many updates something is in what comes out, at least.

        With mixing each value that comes out is a mean of `updates` - f of them, or of such means: none has more than
        its share of so many.
        """
        return self.rule.left(updates) if self.mixing is None else max(0, updates - self.mixing.bad_sites)
