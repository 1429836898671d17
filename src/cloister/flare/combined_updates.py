# SPDX-License-Identifier: Apache-2.0
"""From a round's updates to the next weights, by what the job says under `aggregation`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cloister.adapter_file import is_finite
from cloister.aggregation import Contribution, ServerOptimiser, optimiser_of, rule_of
from cloister.aggregation.factors import Trained, mean_of, orthonormal, refactored, rest_of
from cloister.aggregation.mean import Mean
from cloister.errors import JobError
from cloister.flare.factor_errors import FactorErrors, factor_errors
from cloister.flare.folding import Folding
from cloister.flare.lower_rank import received_of
from cloister.jobs import AdapterLayout, Job
from cloister.jobs.adapter import Arrays
from cloister.jobs.kept_tensors import is_control
from cloister.jobs.live_tensors import Factor, frozen_factor
from cloister.vectors import BLOCK_VALUES, ArraySource, Source, Vector, blocks_of
from cloister.weights_file import Part, WeightsFile, spans_of
from cloister.wire import Schema, flatten, unflatten


class CombinedUpdates:
    """What the server makes of updates, round by round.

    Args:
        job: which says how.
        folder: for what a server optimiser remembers.

    Attributes:
        folding: what was folded into the base model's weights.
        errors: of the factors of the last round; None where the job's rule sums no products.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        aggregation = job.aggregation
        self._factors, self.folding = aggregation.factors, Folding(job)
        self._aggregation, self._folder, self._rule = aggregation, folder, rule_of(aggregation)
        self.errors: FactorErrors | None = None
        self._optimisers: dict[Factor | None, ServerOptimiser] = {}

    def added(  # noqa: PLR0913 - what a round consists of, each by its name
        self,
        weights: WeightsFile,
        known: WeightsFile,
        live: AdapterLayout,
        contributions: Sequence[Contribution],
        *,
        number: int,
        layouts: Mapping[str, AdapterLayout],
        records: Mapping[str, int],
        path: Path,
        over: Path | None = None,
    ) -> WeightsFile:
        """Write the next weights to ``path``.

        Args:
            weights: the newest.
            known: the same as the sites have them, to which an update is the difference.
            live: the tensors of the updates.
            contributions: at least one, all of them of ``live``, or of lower rank where the job takes such.
            number: of the round that ends.
            layouts: by site what it exchanges, of all that take part, those included that were not asked.
            records: by site how many it may train on, of the same sites.
            path: where to; nothing is durable yet.
            over: a file in that folder that nobody will read again, see `cloister.files.writing`.

        Raises:
            JobError: where there are too few updates for the rule, or the sum is no longer finite.
        """
        network, optimiser = _without_control(live), self._optimiser(number)
        control = replace(live, tensors=tuple(tensor for tensor in live.tensors if is_control(tensor.name)))
        apart = [(control, _of_all_sites(contributions, live, control, records))] if control.tensors else []
        if self._factors == "refactored":
            blocks = self._refactored(known, contributions, layouts)
            new = weights.changed(path, weights.layout, _step(optimiser, blocks))
        elif self._factors == "flora":
            new = self._stacked(known, contributions, layouts, number, path)
        else:
            parts = [replace(each, update=_part_of(each.update, live, network)) for each in contributions]
            changes = [(network, _step(optimiser, self._rule.combine(parts))), *apart]
            new, apart = weights.changed_in_parts(path, changes, over=over), []
        if self._factors == "fedsvd":
            new = _written(path, orthonormal(new.arrays()), new.layout)
        if apart:
            new = new.changed_in_parts(path, apart)
        optimiser.commit()
        return new

    def _optimiser(self, number: int) -> ServerOptimiser:
        """That of round ``number``; where factors are trained in turns, what is remembered is of one of them alone."""
        frozen = frozen_factor(self._factors, number)
        if frozen not in self._optimisers:
            folder = self._folder if frozen is None else self._folder / f"without-{frozen}"
            self._optimisers[frozen] = optimiser_of(self._aggregation, folder)
        return self._optimisers[frozen]

    def _refactored(
        self, known: WeightsFile, contributions: Sequence[Contribution], layouts: Mapping[str, AdapterLayout]
    ) -> Iterator[Vector]:
        schema, here = Schema.of(known.layout), known.arrays()
        trained = [
            trained_of(each, received_of(here, layouts[each.site]), layouts[each.site]) for each in contributions
        ]
        try:
            new = refactored(here, trained)
        except ValueError as error:  # numpy's own, of what does not come to an end, is one too
            raise JobError("what the sites trained is too large to be taken apart") from error
        self.errors = factor_errors(trained, new.cut_off)
        difference = ArraySource(flatten(new.arrays, schema) - flatten(here, schema))
        return (difference.block(number) for number in range(blocks_of(difference.size)))

    def _stacked(
        self,
        known: WeightsFile,
        contributions: Sequence[Contribution],
        layouts: Mapping[str, AdapterLayout],
        number: int,
        path: Path,
    ) -> WeightsFile:
        """Fold the round's factors in; the next round's are drawn, and what is no factor is averaged."""
        here, trained = known.arrays(), []
        for each in contributions:
            layout = layouts[each.site]
            trained.append(trained_of(each, received_of(here, layout), layout))
        self.errors = factor_errors(trained, {})
        self.folding.add(trained)
        averaged = mean_of(rest_of(here), trained)
        return _written(path, self.folding.drawn(averaged, known.layout, number + 1), known.layout)


def trained_of(contribution: Contribution, received: Arrays, layout: AdapterLayout) -> Trained:
    """What a site has after its training.

    Args:
        contribution: its update, of ``layout``.
        received: what it was sent, at least the tensors of ``layout``.
        layout: the tensors of the update.

    Raises:
        JobError: where that is no longer finite.
    """
    schema = Schema.of(layout)
    update = unflatten(_Stretches(contribution.update).read(0, contribution.update.size), schema)
    return Trained(
        contribution.site, contribution.weight, {name: _sum(received[name], array) for name, array in update.items()}
    )


def _of_all_sites(
    contributions: Sequence[Contribution], live: AdapterLayout, control: AdapterLayout, records: Mapping[str, int]
) -> Callable[[int, Vector], Vector]:
    """Control variates: a site that did not answer counts as one whose variate did not change.

    The new variate is c plus the mean over all sites of what was added to theirs (SCAFFOLD,
    https://arxiv.org/abs/1910.06378, algorithm 1, line 17). The paper counts sites alike, as its mean of weights does;
    here both means are weighted by records, so that the variates are those of the optimum that the weights go to.
    """
    parts = [
        replace(each, weight=float(records[each.site]), update=_part_of(each.update, live, control))
        for each in contributions
    ]
    share = np.float32(sum(each.weight for each in parts) / sum(records.values()))
    combined = Mean().combine(parts)
    return lambda _, values: _sum(values, share * next(combined), out=values)


def _without_control(layout: AdapterLayout) -> AdapterLayout:
    return replace(layout, tensors=tuple(tensor for tensor in layout.tensors if not is_control(tensor.name)))


def _part_of(source: Source, whole: AdapterLayout, part: AdapterLayout) -> Source:
    return source if part.tensors == whole.tensors else Part(_Stretches(source), spans_of(whole, part))


@dataclass(frozen=True)
class _Stretches:
    """A source of which any stretch can be read; each block that it touches is asked for once."""

    source: Source

    def read(self, start: int, stop: int) -> Vector:
        """See `cloister.weights_file.Readable`."""
        first, last = start // BLOCK_VALUES, blocks_of(stop)
        values = np.concatenate(
            [np.empty(0, np.float32), *(self.source.block(number) for number in range(first, last))]
        )
        return values[start - first * BLOCK_VALUES : stop - first * BLOCK_VALUES]


def _written(path: Path, arrays: Arrays, layout: AdapterLayout) -> WeightsFile:
    return WeightsFile.write(path, layout, [_finite(flatten(arrays, Schema.of(layout)))])


def _step(optimiser: ServerOptimiser, combined: Iterator[Vector]) -> Callable[[int, Vector], Vector]:
    return lambda number, values: _sum(values, optimiser.step(number, next(combined)), out=values)


def _sum(values: Vector, added: Vector, out: Vector | None = None) -> Vector:
    with np.errstate(over="ignore"):  # it is looked at
        return _finite(np.add(values, added, out=out))


def _finite(values: Vector) -> Vector:
    if not is_finite(values):
        raise JobError("the sum of weights and updates is no longer finite")
    return values
