# SPDX-License-Identifier: Apache-2.0
"""SCAFFOLD's control variates (https://arxiv.org/abs/1910.06378, algorithm 1) beside an optimiser with a memory.

A site's gradient g is replaced by g - c_i + c, where c_i is the site's own control variate and c that of all sites.
Option II of the paper then sets c_i to c_i - c + (x - y) / (K lr), for the weights x that came, y after K steps, and
the rate lr. With the paper's plain steps, y = x - lr * sum(g - c_i + c), that is exactly the mean of the g of the
round's steps. With AdamW it is not: x - y is a sum of steps that were divided by the root of a second moment, which
nobody could add to a gradient. So the mean of the g is taken itself: equal to option II where that holds, at no cost
beside it, and c_i stays what the paper proves things of, an estimate of the site's gradient.

Gradients are not clipped. Clipped ones of several sites do not add up to nothing where the weights are best for all of
them, so that neither would the control variates, and what they are for would be lost; AdamW's steps are bounded anyway.
"""

from __future__ import annotations

import torch

from cloister.errors import TrainerError
from cloister.training.exchange import Parameters, Tensors
from cloister.training.loop import Correction


class ControlVariates(Correction):
    """Corrects the gradients of one round, and makes the control variates of the next.

    Args:
        parameters: of the network, by name; those without a control variate, which are personal, are left alone.
        control: c, of all sites, by the same names.
        own: c_i, of this site.

    Raises:
        TrainerError: where nothing that is trained has a control variate.
    """

    clips = False

    def __init__(self, parameters: Parameters, control: Tensors, own: Tensors) -> None:
        self._control, self._own = control, own
        self._trained = {
            name: parameter
            for name, parameter in parameters.items()
            if name in control and name in own and parameter.requires_grad
        }
        if not self._trained:
            raise TrainerError("nothing that is trained has a control variate")
        self._shift = {
            name: (control[name] - own[name]).to(parameter.device) for name, parameter in self._trained.items()
        }
        self._sums = {name: torch.zeros_like(parameter) for name, parameter in self._trained.items()}
        self._steps = 0

    @torch.no_grad()
    def correct(self) -> None:
        """Count the gradients in, and correct them; not where they are no numbers: float16 leaves that step out."""
        gradients = [parameter.grad for parameter in self._trained.values() if parameter.grad is not None]
        if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
            return
        self._steps += 1
        for name, parameter in self._trained.items():
            if parameter.grad is None:
                parameter.grad = self._shift[name].clone()
            else:
                self._sums[name] += parameter.grad
                parameter.grad += self._shift[name]

    def own(self) -> Tensors:
        """The site's c_i after the round, on the CPU; as it was of what was not trained."""
        if not self._steps:
            return dict(self._own)
        return self._own | {name: (total / self._steps).cpu() for name, total in self._sums.items()}

    def control(self) -> Tensors:
        """What is given back for c: with the change of c_i added, so that the difference to c as it came is the change.

        The server adds, over the sites S that answered of N, |S| / N times the mean of their changes to c.
        """
        own = self.own()
        return {name: control + (own[name] - self._own[name]) for name, control in self._control.items()}
