"""Adam with decoupled weight decay, one fused call a step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor, nn

ALIGNED = 16
"""Flat parameters start at multiples of so many numbers: 64 bytes, one line of the cache."""


class Adam:
    """Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov 2019) over named parameters.

    It calls the fused kernel directly: importing ``torch.optim`` for its Adam costs a second before the first step. With
    ``members`` every parameter has a leading axis of them, and one step moves them all.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        members: int | None = None,
    ) -> None:
        named = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
        # Decay shrinks what multiplies data; biases, variances and the linear shortcut are not what overfits.
        axes = 1 if members is None else 2
        decays = (
            {name for name, p in named if p.dim() > axes and not name.endswith("shortcut")} if weight_decay else set()
        )
        self.groups = [
            _Group([n for n, _ in named if n in decays], [p for n, p in named if n in decays], weight_decay),
            _Group([n for n, _ in named if n not in decays], [p for n, p in named if n not in decays], 0.0),
        ]
        self.betas, self.eps = betas, eps

    def flatten(self) -> dict[str, Tensor]:
        """Lay parameters, gradients and moments of a group end to end, so that a step is one pass over one tensor.

        The parameters become views. Returns the view of the gradient by parameter name; whoever writes there need not set
        ``parameter.grad``.
        """
        for group in self.groups:
            group.flatten()
        return {n: g for group in self.groups for n, g in zip(group.names, group.gradients, strict=True)}

    @torch.no_grad()
    def step(self, learning_rate: float | Tensor) -> None:
        """Move every parameter that has a gradient, then forget the gradients. The rate may be a float32 tensor, ()."""
        for group in self.groups:
            if group.flat is not None:  # another engine has stepped here before; what has no gradient now stays put
                for parameter, place in zip(group.parameters, group.gradients, strict=True):
                    place.zero_() if parameter.grad is None else place.copy_(parameter.grad)
                    parameter.grad = None
                self._move(learning_rate, group.weight_decay, *([tensor] for tensor in group.flat))
                continue
            active = [i for i, p in enumerate(group.parameters) if p.grad is not None]
            if active:
                self._move(
                    learning_rate,
                    group.weight_decay,
                    [group.parameters[i] for i in active],
                    [p.grad for p in group.parameters if p.grad is not None],
                    [group.mean[i] for i in active],
                    [group.square[i] for i in active],
                    [group.steps[i] for i in active],
                )
            for parameter in group.parameters:
                parameter.grad = None

    @torch.no_grad()
    def move(self, learning_rate: float) -> None:
        """Move every parameter by the gradient that was written where :meth:`flatten` said."""
        for group in self.groups:
            if group.flat is not None:
                self._move(learning_rate, group.weight_decay, *([tensor] for tensor in group.flat))

    def _move(
        self,
        learning_rate: float | Tensor,
        weight_decay: float,
        parameters: list[Tensor],
        gradients: list[Tensor],
        mean: list[Tensor],
        square: list[Tensor],
        steps: list[Tensor],
    ) -> None:
        if len(steps) == 1:
            steps[0].add_(1.0)
        else:
            torch._foreach_add_(steps, 1.0)  # pyright: ignore[reportPrivateImportUsage] - the kernel reads the count only
        torch._fused_adamw_(  # pyright: ignore[reportPrivateImportUsage] - its public door is what costs the second
            parameters,
            gradients,
            mean,
            square,
            [],
            steps,
            lr=learning_rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=weight_decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    def held(self) -> list[Tensor]:
        """Return the parameters, their moments and the counts of steps, as they lie."""
        return [tensor for group in self.groups for tensor in group.held()]

    def state(self) -> dict[str, Tensor]:
        """Return copies of the moments by parameter name."""
        state: dict[str, Tensor] = {}
        for group in self.groups:
            for i, name in enumerate(group.names):
                state[f"{name}.mean"] = group.mean[i].clone()
                state[f"{name}.square"] = group.square[i].clone()
                state[f"{name}.steps"] = group.steps[i].clone()
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`state` returned."""
        for group in self.groups:
            for i, name in enumerate(group.names):
                group.mean[i].copy_(state[f"{name}.mean"])
                group.square[i].copy_(state[f"{name}.square"])
                group.steps[i].copy_(state[f"{name}.steps"])


class Flat(NamedTuple):
    """What Adam reads and writes of one group, each laid end to end: (n,), and the count of its steps, ()."""

    parameters: Tensor
    gradients: Tensor
    mean: Tensor
    square: Tensor
    steps: Tensor


class _Group:
    """Parameters that share a weight decay, with their running moments."""

    def __init__(self, names: list[str], parameters: list[nn.Parameter], weight_decay: float) -> None:
        self.names, self.weight_decay = names, weight_decay
        self.parameters: list[Tensor] = [*parameters]
        self.mean = [torch.zeros_like(p) for p in parameters]
        self.square = [torch.zeros_like(p) for p in parameters]
        self.steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in parameters]
        self.gradients: list[Tensor] = []
        self.flat: Flat | None = None

    def held(self) -> list[Tensor]:
        """Return the parameters, their moments and the counts of steps, as they lie."""
        if self.flat is None:
            return [*(p.detach() for p in self.parameters), *self.mean, *self.square, *self.steps]
        return [self.flat.parameters, *self.flat[2:]]

    @torch.no_grad()
    def flatten(self) -> None:
        if self.flat is not None or not self.parameters:
            return
        first = self.parameters[0]
        ends = list(accumulate(-(-p.numel() // ALIGNED) * ALIGNED for p in self.parameters))
        parameters, gradients, mean, square = (first.new_zeros(ends[-1]) for _ in range(4))
        flat = Flat(parameters, gradients, mean, square, self.steps[0])

        def views(buffer: Tensor) -> list[Tensor]:
            starts = [0, *ends[:-1]]
            return [
                buffer[start : start + p.numel()].view(p.shape)
                for start, p in zip(starts, self.parameters, strict=True)
            ]

        kept: tuple[tuple[Tensor, Sequence[Tensor]], ...] = (
            (flat.parameters, self.parameters),
            (flat.mean, self.mean),
            (flat.square, self.square),
        )
        for buffer, held in kept:
            for view, tensor in zip(views(buffer), held, strict=True):
                view.copy_(tensor)
                tensor.data = view
        self.gradients = views(flat.gradients)
        self.steps = [flat.steps] * len(self.parameters)
        self.flat = flat
